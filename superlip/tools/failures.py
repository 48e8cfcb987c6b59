"""How a command ends that could not do its work: what it says, and its exit status.

Exceptions of superlip's own say by their kind whose turn it is: a ValueError is the user's to mend, a RuntimeError
means that a tool or the machine failed; ``exit_status`` of a class says otherwise. All else is a mistake of ours.
"""

import errno
import json
import os
import stat
from dataclasses import asdict, dataclass
from pathlib import Path

from .files import write_whole

__all__ = ["CLOSED", "EXIT_STATUS", "INTERRUPTED", "Failure", "UsageError", "failure_of", "write_failure"]

USER, MACHINE, INTERRUPTED, CLOSED = 2, 3, 130, 141

EXIT_STATUS = {
    0: "done; of run: and every bit is equal",
    1: "the answer is no: a bit differs, an operator is not supported, int8 loses the accuracy, a node does not fit",
    USER: "the request can't be met as it stands: a wrong option, a file that is none, a network that does not fit",
    MACHINE: "a tool or the machine failed, or superlip itself: no compiler, a full disk, an internal error",
    INTERRUPTED: "interrupted (Ctrl-C, SIGTERM)",
    CLOSED: "whoever read the output closed it",
}
"""What each exit status of the command means."""


class UsageError(ValueError):
    """A command line that can't be understood."""


@dataclass(frozen=True)
class Failure:
    """What went wrong: the exception's name, one text for people, and the exit status."""

    kind: str
    message: str
    exit: int


def failure_of(error: BaseException) -> Failure:
    """The ``Failure`` that an exception means."""
    status, message = _judged(error)
    return Failure(type(error).__name__, message, status)


def _judged(error):
    """(exit status, message)"""
    is_ours = type(error).__module__.partition(".")[0] == __name__.partition(".")[0]
    match error:
        case KeyboardInterrupt():
            cycle = getattr(error, "cycle", None)  # SimulationInterrupted
            more = "" if cycle is None else f": the same command goes on from cycle {cycle:,} of the simulation"
            return INTERRUPTED, f"interrupted{more}"
        case ValueError() if is_ours:
            return getattr(error, "exit_status", USER), f"error: {error}"
        case RuntimeError() if is_ours:
            return MACHINE, f"error: {error}"
        case OSError():
            return _judged_system(error)
        case MemoryError():
            return MACHINE, "error: out of memory"
    text = " ".join(str(error).split())
    return MACHINE, f"internal error: {type(error).__name__}: {text}; please report, with --debug for the traceback"


_OF_USERS = {
    errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP,
    errno.ENAMETOOLONG, errno.EROFS, errno.EBUSY,
}  # fmt: skip
"""Errors of the system that another path avoids."""


def _judged_system(error):
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = f" while writing {error.filename}" if error.filename else ""
        text = f"no space left on the disk{what}: free some, or set SUPERLIP_CACHE or TMPDIR to another"
    else:
        text = f"{error.filename or 'input/output'}: {error.strerror or error}"
    return USER if error.errno in _OF_USERS and error.filename else MACHINE, f"error: {text}"


def write_failure(failure: Failure, path: str | Path) -> None:
    """Write ``{"error": {"kind", "message", "exit"}}``, whole or not at all; what is no JSON is never overwritten.

    Nothing is raised: the failure itself is what has to be said.
    """
    try:
        if _may_be_written(Path(path)):
            write_whole(path, json.dumps({"error": asdict(failure)}, indent=1) + "\n")
    except OSError:
        pass


def _may_be_written(path):
    """A command line may have been wrong in that it took the model, say, for the file of the report."""
    try:
        if stat.S_ISREG(os.stat(path).st_mode) and path.stat().st_size:
            json.loads(path.read_text())
    except FileNotFoundError:
        return True
    except (OSError, ValueError, RecursionError):
        return False
    return True
