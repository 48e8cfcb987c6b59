"""Files that are there whole or not at all."""

import os
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file in place of the one that may be there; an interruption or a full disk leaves that as it was.

    What is no file (``/dev/stdout``, a named pipe) is written to.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        path.write_text(text, encoding="utf-8")
        return
    number, partial = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with open(number, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.chmod(partial, path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        os.replace(partial, path)
    except BaseException:
        os.unlink(partial)
        raise


def _umask():
    """Of this process: there is no call that only reads it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
