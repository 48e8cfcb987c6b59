"""What is printed on a console, and names that try to take it over."""

import io
import re

from rich.console import Console

HOSTILE = "a[/x]b[red]c:warning:\x1b[2Jd\u202ee\n"
SHOWN = "a[/x]b[red]c:warning:\\x1b[2Jd\\u202ee\\x0a"
LONG = "features/inception_4e/branch3x3dbl/conv_3/Conv + features/inception_4e/branch3x3dbl/Relu"


def printed(show, *, width=80, terminal=True):
    """Text that ``show(console)`` prints, without colours, on a console as a user of the library may have it."""
    console = Console(width=width, file=io.StringIO(), force_terminal=terminal, legacy_windows=False)
    show(console)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", console.file.getvalue())
