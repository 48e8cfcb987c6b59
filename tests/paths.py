"""Where things lie in the repository."""

from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
"""Networks that ONNX ships without weights."""
