"""What is kept between runs: simulators, Verilog, syntheses, checkpoints. One folder, used by many processes at once.

An *entry* is a folder ``cache_dir() / KIND / KEY``, where KEY is a hash of all that its content depends on. It is
written under another name, with a manifest of its files, and takes its place in one step: there is no half of an entry.
Who finds it compares it with its manifest, and makes it anew if it does not agree. Locks (of the kernel, which ends
them with their process) keep two processes from making the same entry; they hold between containers that share the
folder, too.

Others must not be able to write there, since what lies there is executed.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from .toolchain import ToolError

__all__ = ["CacheError", "cache_dir", "cache_folder", "check_cache", "check_private", "entry", "lookup", "remove_old",
           "work_folder"]  # fmt: skip

KEPT_SECONDS = 14 * 24 * 3600
"""How long checkpoints and results of testbenches lie there that nobody asks for."""
_MANIFEST = "manifest.json"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_PLAIN = re.compile(r"[A-Za-z0-9_./+@-]+")
"""Paths that make, Verilator and compilers take: not those with spaces, quotes, ``;``, ``$``, ``#``, ``:``, ..."""


class CacheError(ToolError):
    """The cache can't be used; the message names its folder, what is wrong, and the way out."""


def cache_dir() -> Path:
    """Where it all lies, an absolute path: $SUPERLIP_CACHE, or superlip/ in the user's cache folder.

    Raises
    ------
    CacheError
        If this user has no home folder, and neither $SUPERLIP_CACHE nor $XDG_CACHE_HOME says where.
    """
    try:
        if base := os.environ.get("SUPERLIP_CACHE"):
            return Path(base).expanduser().absolute()
        users = os.environ.get("XDG_CACHE_HOME", "")  # its specification: what is not absolute is ignored
        return (Path(users) if os.path.isabs(users) else Path.home().absolute() / ".cache") / "superlip"
    except RuntimeError as error:
        raise CacheError(f"no folder for the cache ({error}): set SUPERLIP_CACHE to one") from None


def cache_folder(kind: str) -> Path:
    """The folder of one kind of things, made if necessary.

    Raises
    ------
    CacheError
        If it can't be made, or if others may write to it.
    """
    root = cache_dir()
    with _told(root):
        root.parent.mkdir(parents=True, exist_ok=True)
        for folder in (root, root / kind):
            folder.mkdir(mode=0o700, exist_ok=True)  # whatever the umask
            check_private(folder)
    return root / kind


def check_cache() -> None:
    """Find out before minutes of work whether the cache can be written: CacheError if not."""
    with _told(cache_dir()), tempfile.TemporaryFile(dir=cache_folder("simulators")) as file:
        file.write(bytes(1 << 16))


def lookup(kind: str, key: str) -> Path | None:
    """The folder of an entry that is there and undamaged."""
    folder = cache_folder(kind) / key
    return folder if _intact(folder) else None


def entry(kind: str, key: str, make: Callable[[Path], None], *, note: Callable[[str], None] | None = None) -> Path:
    """The folder of an entry, made by ``make`` if it is not there or damaged.

    Parameters
    ----------
    kind, key : str
    make : callable of Path
        Writes the files into an empty folder.
    note : callable of str, optional
        Told where another process is waited for, which makes the same.

    Raises
    ------
    CacheError
        If the cache can't be written, is full, or open to others. What ``make`` raises comes through.
    """
    found = lookup(kind, key)
    if found is not None:
        return found
    folder = cache_folder(kind) / key
    with _told(cache_dir()), _locked(folder, note):
        if _intact(folder):
            return folder
        _remove_abandoned(folder)
        partial = _new_folder(folder)
        try:
            make(partial)
            _write_manifest(partial)
            _put(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


@contextlib.contextmanager
def work_folder(target: Path) -> Iterator[Path]:
    """An empty folder for a build whose results go to ``target``, gone afterwards.

    Its path has only characters that build tools take: it lies in ``target`` if that has, or else among the temporary
    files.

    Raises
    ------
    CacheError
        If there is no such folder.
    """
    places = [target, Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    place = next((p for p in places if _PLAIN.fullmatch(str(p)) and os.access(p, os.W_OK)), None)
    if place is None:
        raise CacheError(
            f"make and Verilator can't work in {target} or {places[1]}, as there is more in these paths than letters, "
            "digits and _./+@-: set TMPDIR to another folder"
        )
    with tempfile.TemporaryDirectory(prefix="superlip-", dir=place, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def remove_old(folder: Path) -> None:
    """Remove the folders in it that nothing has been written to for ``KEPT_SECONDS``."""
    for path in folder.glob("*"):
        with contextlib.suppress(OSError):
            if path.is_dir() and time.time() - path.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(path, ignore_errors=True)


def check_private(folder: Path) -> None:
    """CacheError if others than this user (and root) may write to a folder of the cache."""
    found = folder.stat()
    if found.st_uid not in (os.getuid(), 0):
        what, way_out = f"belongs to another user (uid {found.st_uid})", "set SUPERLIP_CACHE to a folder of your own"
    elif found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        what = f"can be written by others ({stat.filemode(found.st_mode)})"
        way_out = f"chmod go-w '{folder}', or set SUPERLIP_CACHE to another folder"
    else:
        return
    raise CacheError(f"the cache folder {folder} {what}, and what lies there is executed: {way_out}")


@contextlib.contextmanager
def _told(root):
    """Errors of the file system in this folder, as the user's line."""
    try:
        yield
    except OSError as error:
        place = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else None
        if error.errno in _NO_SPACE:
            what = f" while writing {place}" if place else ""
            raise CacheError(
                f"no space left on the disk{what}: free some, or set SUPERLIP_CACHE (now {root}) or TMPDIR to another"
            ) from error
        if place and (place.is_relative_to(root) or root.is_relative_to(place)):
            raise CacheError(
                f"the cache folder {root} can't be used ({place}: {error.strerror}): set SUPERLIP_CACHE to a "
                "folder that you can write to"
            ) from error
        raise


@contextlib.contextmanager
def _locked(folder, note):
    lock = _lock(folder)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if note:
            note("waiting for another process, which builds the same")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(folder):
    return FileLock(folder.with_name(f"{folder.name}.lock"))


def _new_folder(folder):
    """An empty one beside it; its name begins with that of the entry whose lock this process holds."""
    return Path(tempfile.mkdtemp(prefix=f"{folder.name}.", suffix=".partial", dir=folder.parent))


def _remove_abandoned(folder):
    """Delete what killed processes have left: of this entry, which we have locked, and of those that nobody has."""
    for path in folder.parent.glob("*.partial"):
        other = folder.with_name(path.name.split(".")[0])
        with contextlib.suppress(Timeout), contextlib.ExitStack() as stack:
            if other != folder:
                stack.enter_context(_lock(other).acquire(timeout=0))
            shutil.rmtree(path, ignore_errors=True)


def _put(partial, folder):
    try:
        partial.rename(folder)  # on an empty folder, too
    except OSError:
        if not os.path.lexists(folder):
            raise
        damaged = _new_folder(folder)
        try:
            os.replace(folder, damaged / "damaged")
            partial.rename(folder)
        finally:
            shutil.rmtree(damaged, ignore_errors=True)


def _write_manifest(folder):
    files = {str(path.relative_to(folder)): _described(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / _MANIFEST).write_text(json.dumps(files, indent=1) + "\n")


def _intact(folder):
    try:
        files = json.loads((folder / _MANIFEST).read_text())
        return bool(files) and all(_described(folder / name) == described for name, described in files.items())
    except (OSError, ValueError, AttributeError):
        return False


def _described(path):
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": found.st_size, "sha256": digest, "executable": bool(found.st_mode & stat.S_IXUSR)}
