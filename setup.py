"""Everything is in pyproject.toml; this stops a build that would leave half of superlip out."""

import sys
from pathlib import Path

from setuptools import setup

LINKS = {"superlip/rtl": "rtl", "superlip/sim": "sim", "superlip/boards": "platform/boards"}

root = Path(__file__).resolve().parent
lost = [link for link in LINKS if not (root / link).is_dir()]
if lost:
    sys.exit(
        f"superlip: {', '.join(lost)} should be symbolic links to {', '.join(LINKS[link] for link in lost)}, and this "
        f"copy of the source has lost them: clone with 'git -c core.symlinks=true clone', or unpack it where links "
        f"are allowed (on Windows: with developer mode on)"
    )
setup()
