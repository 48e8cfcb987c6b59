"""Checkpoints of simulations: a run that is interrupted goes on where it was, with the result of one that was not.

The native simulator writes and reads the state (``native/archive.h``); this is about whose it is and where it lies. A
run's folder is named by a hash of the simulator and all that it is given, so that no run ever meets another's
checkpoint. It holds ``checkpoint.bin``, the output files so far, and, of a run that has ended, its ``facts.txt``.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from superlip.tools.cache import remove_old

__all__ = ["Checkpoints", "SimulationInterrupted", "run_key"]

_HEAD = struct.Struct("<8sQ")
_MAGIC = b"superlp1"  # as in native/archive.h
_CHECKPOINT, _FACTS, _LOCK = "checkpoint.bin", "facts.txt", "lock"


class SimulationInterrupted(KeyboardInterrupt):
    """A run was interrupted, and the same run will go on from cluster cycle ``cycle``."""

    def __init__(self, cycle: int):
        super().__init__(f"interrupted; the same run goes on from cycle {cycle:,}")
        self.cycle = cycle


@dataclass
class Checkpoints:
    """Where and when ``Simulator.run`` saves its state.

    Parameters
    ----------
    folder : path
        Made if necessary. Each run has a folder of its own there, until it has ended.
    seconds : float
        A checkpoint is written that often, but so that writing takes at most a thirtieth of the time.
    fresh : bool
        Begin anew, whatever is there.
    keep_results : bool
        A run that has ended leaves its result until ``forget``; the same run again only reads it.
    note : callable of str
        Told that a run goes on from a checkpoint, or that there is no space for one.
    stop_at : int, optional
        Interrupt the run in this cluster cycle, or soon after it.
    """

    folder: Path
    seconds: float = 30
    fresh: bool = False
    keep_results: bool = False
    note: Callable[[str], None] = lambda text: None
    stop_at: int | None = None
    _kept: list[Path] = field(default_factory=list, init=False, repr=False)

    @contextlib.contextmanager
    def open(self, key: str) -> Iterator["RunFolder | None"]:
        """A run's ``RunFolder``, or None where it can't have one: another process runs the same, the disk is full."""
        folder = Path(self.folder) / key
        try:
            remove_old(Path(self.folder))
            folder.mkdir(parents=True, exist_ok=True)
            lock = (folder / _LOCK).open("w")
        except OSError as error:
            self.note(f"without checkpoints: {error}")
            yield None
            return
        with lock:
            if not _lock(lock, folder):
                self.note(f"without checkpoints: another process runs the same, in {folder}")
                yield None
                return
            if self.fresh:
                _empty(folder)
            run = RunFolder(folder, self)
            try:
                yield run
            except BaseException:
                if run.cycle is None:
                    shutil.rmtree(folder, ignore_errors=True)
                raise
            if self.keep_results:
                self._kept.append(folder)
            else:
                shutil.rmtree(folder, ignore_errors=True)

    def forget(self) -> None:
        """Remove the results that runs with this object have left."""
        while self._kept:
            shutil.rmtree(self._kept.pop(), ignore_errors=True)


@dataclass(frozen=True)
class RunFolder:
    """What lies there of one run, while this process holds its lock."""

    path: Path
    settings: Checkpoints

    @property
    def arguments(self) -> list[str]:
        """For the native simulator."""
        stop = [] if self.settings.stop_at is None else [str(self.settings.stop_at)]
        return [str(self.settings.seconds), *stop]

    @property
    def cycle(self) -> int | None:
        """Cluster cycle of the checkpoint; None: there is none."""
        try:
            with (self.path / _CHECKPOINT).open("rb") as file:
                magic, cycle = _HEAD.unpack(file.read(_HEAD.size))
        except (OSError, struct.error):
            return None
        return cycle if magic == _MAGIC else None

    def discard(self, why: str) -> None:
        """Begin anew."""
        self.settings.note(f"beginning anew: {why}")
        _empty(self.path)

    def finish(self, lines: Sequence[str]) -> None:
        """The run has ended: keep what the simulator said."""
        (self.path / _CHECKPOINT).unlink(missing_ok=True)
        if self.settings.keep_results:
            with contextlib.suppress(OSError):
                partial = self.path / f"{_FACTS}.partial"
                partial.write_text("".join(lines))
                partial.rename(self.path / _FACTS)

    def facts(self) -> list[str] | None:
        """What the simulator said when this run ended; None if it has not."""
        try:
            return (self.path / _FACTS).read_text().splitlines()
        except OSError:
            return None


def run_key(executable: Path, files: Iterable[Path], parts: Iterable[str]) -> str:
    """Name of a run: a hash of the simulator, of files that it is given, and of further strings."""
    digest = hashlib.sha256()
    for path in (executable, *files):
        with Path(path).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    digest.update(repr(parts).encode())
    return digest.hexdigest()[:20]


def _lock(file, folder):
    """Whether we have it now; a lock in a folder that has been removed meanwhile is worth nothing."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), (folder / _LOCK).stat())
    except OSError:
        return False


def _empty(folder):
    for path in folder.iterdir():
        if path.name != _LOCK:
            path.unlink()
