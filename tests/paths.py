"""Where things lie in the repository."""

from pathlib import Path

import onnx

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
"""Networks that ONNX ships without weights."""


def modules():
    """(path, parts of its import name) of every module of superlip."""
    for path in sorted((ROOT / "superlip").rglob("*.py")):
        yield path, path.relative_to(ROOT).with_suffix("").parts
    for link in (path for path in (ROOT / "superlip").iterdir() if path.is_symlink()):
        for path in sorted(link.resolve().rglob("*.py")):
            yield path, ("superlip", link.name, *path.relative_to(link.resolve()).with_suffix("").parts)
