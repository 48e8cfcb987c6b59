"""What ``superlip build`` writes: a folder with all that boards need, described by its manifest.

The manifest also says which folders may be replaced: those which hold what a manifest of ours lists, to the byte, and
nothing else.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from superlip.rtl.config import PAGE

__all__ = ["PackageError", "build", "place_of"]

MANIFEST = "manifest.json"
FORMAT = "superlip package 4"
"""What a manifest calls its format; the number changes with the meaning of its keys."""
FORMATS = ("superlip package 1", "superlip package 2", "superlip package 3", FORMAT)
"""What may be replaced."""
PROVED = "every instruction on every board runs to its end, however fast units and links are; no counter overflows"
"""What the manifest says of the programs (``superlip.compile.liveness``), above the figures of the proof."""


class PackageError(ValueError):
    """A folder that ``build`` may not write to; the message says why, and that another is wanted."""


def build(design: Any, folder: str | Path) -> Path:
    """Write what a board needs: Verilog of the node, programs, DRAM images and host operations, with a manifest.

    For each image a driver writes the pieces of ``image``; then, for each segment, it runs the host operations before
    it (reads their pieces, runs the model, writes the result's) and starts that segment's program on all boards; at
    last it reads ``results`` and runs what is left of ``host``. A piece is some rows of one group (Tn channels). Of a
    storage's channels, of which a value's begin at ``first_channel``, each ``section`` begins a group.

    Offsets are those in a DRAM where the board's ``regions`` follow each other, for each port from p * ``stripe_bytes``
    on. A driver may place each region anywhere, at a multiple of ``alignment``: it writes the place and the size to the
    registers (``NAME_BASE``, ``NAME_SIZE``), and adds what the region was moved by to the offsets in it. Programs are
    given by their address in their region, as the register PROGRAM takes it. ``liveness`` says what was proved of them.

    Parameters
    ----------
    design : Design
    folder : path
        Made; or replaced, if it is empty or holds what ``build`` has written and nothing else. The old content goes
        when the new one is in place; a failure leaves it as it was.

    Returns
    -------
    Path of the folder

    Raises
    ------
    PackageError
        If there is something else.
    """
    place = place_of(folder)
    place.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        new = work / "new"
        new.mkdir()
        _write(design, new)
        _swap(new, place, aside=work / "old")
    finally:
        # Not with what was there before, should it have come to lie here for good.
        shutil.rmtree(work / "new", ignore_errors=True)
        with contextlib.suppress(OSError):
            work.rmdir()
    return place


def place_of(folder: str | Path) -> Path:
    """The folder's own path, without links and ``..``, if ``build`` may write there.

    Raises
    ------
    PackageError
    """
    if os.path.islink(folder):
        raise PackageError(f"{folder} is a symbolic link to {os.readlink(folder)}: name the folder itself")
    place = Path(os.path.realpath(folder))
    if Path.cwd().is_relative_to(place):
        raise PackageError(f"{folder} is the folder you are in, or one around it: choose another folder")
    if place.exists():
        _contents(place, folder)
    return place


def _swap(new, place, *, aside):
    """Put ``new`` in its place; what is there goes once that is done, or else stays."""
    try:
        with contextlib.suppress(FileNotFoundError):
            place.rename(aside)
        paths = _contents(aside, place) if aside.exists() else []  # what has come since the first look counts, too
        new.rename(place)
    except BaseException:
        if os.path.lexists(aside) and not os.path.lexists(place):
            aside.rename(place)
        raise
    if aside.exists():
        _remove(aside, paths)


def _contents(folder, name):
    """Files and folders below a folder, all of which ``build`` has written: relative paths, none if it is empty.

    ``name`` is what the folder is called in the error.
    """
    other = f"{name} holds what superlip build did not write"
    if folder.is_symlink() or not folder.is_dir():
        raise PackageError(f"{name} is no folder: choose another name")
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    if not found:
        return []
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        is_ours = manifest["format"] in FORMATS and manifest["digest"] == _digest(manifest)
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        is_ours = False
    if not is_ours:
        raise PackageError(f"{other}: choose another folder")
    listed = {MANIFEST: None, **manifest["files"]}
    folders = {parent.as_posix() for path in listed for parent in Path(path).parents} - {"."}
    for path in found:
        if path not in listed and not (path in folders and not (folder / path).is_symlink()):
            raise PackageError(f"{other}, {path}: choose another folder, or move that file away")
        if path in listed and not _is_unchanged(folder / path, listed[path]):
            raise PackageError(f"{name} was written by superlip build, but {path} was changed: choose another folder")
    return found


def _is_unchanged(path, digest):
    """Whether a file is the one that was written; the manifest's own digest is known already."""
    if path.is_symlink() or not path.is_file():
        return False
    return digest is None or _file_digest(path) == digest


def _file_digest(path):
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(manifest):
    """Of all a manifest says but this."""
    rest = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _remove(folder, paths):
    """Remove these files and folders below a folder, and itself: should there be something else, it stays."""
    for path in [*sorted(paths, reverse=True), "."]:
        if (folder / path).is_dir():
            (folder / path).rmdir()
        else:
            (folder / path).unlink()


def _write(design, folder):
    """Write all files, the manifest last."""
    from superlip.rtl.node import node_verilog  # noqa: PLC0415 - elaborating takes a while to import

    (folder / "node.v").write_text(node_verilog(design.target.node))
    content = _content(design, folder)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    manifest = {
        "format": FORMAT,
        **content,
        "files": {path.relative_to(folder).as_posix(): _file_digest(path) for path in files},
    }
    manifest["digest"] = _digest(json.loads(json.dumps(manifest)))
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")


def _content(design, folder):
    """What the manifest says of a design; the files that it names are written."""
    compiled = design.compiled
    return {
        "model": design.graph.name,
        "node": design.target.name,
        "boards": [_write_board(board, folder / f"board{number}") for number, board in enumerate(compiled.boards)],
        "liveness": {"proved": PROVED, **asdict(compiled.liveness)},
        "layers": [
            {"name": op.name, "partition": split.value}
            for op, split in zip(design.network.ops, design.plan.splits, strict=True)
        ],
        "outputs": [
            {"board": board, "offset": offset, "length": length} for board, offset, length in compiled.output_ranges()
        ],
        "front": _write_front(design, folder),
        "image": _image(design),
        "parts": [_part(design, part) for part in design.graph.parts],
        "host": _write_host_models(design, folder),
        "results": [_described(design, name, compiled.read_pieces(name)) for name in design.network.outputs],
    }


def _write_board(board, folder):
    """Write a board's DRAM; how it is filled, and where its programs are."""
    folder.mkdir()
    extents = []
    with (folder / "dram.bin").open("wb") as file:
        for offset, data in board.dram.extents:
            extents.append({"offset": offset, "file_offset": file.tell(), "length": len(data)})
            file.write(data)
    return {
        "stripe_bytes": board.dram.stripe_bytes,
        "alignment": PAGE,
        "regions": {
            region.name.lower(): {"offset": offset, "bytes": size}
            for region, (offset, size) in board.dram.regions.items()
        },
        "init_program": board.init_program,
        "frame_program": board.programs[0],
        "segments": board.programs,
        "instructions": board.instructions,
        "dram": extents,
    }


def _write_host_models(design, folder):
    """Write the ONNX models of host operations; what a driver does with them, in order.

    ``segment`` is the one that an operation comes before (null: it comes last). An input has ``pieces`` where it is
    read from DRAM; others are the image or results of operations before. A result has pieces where it is written there.
    """
    compiled, network = design.compiled, design.network
    items: list[tuple[int | None, Any]] = [
        (segment, step.node) for segment in range(compiled.segments) for step in network.segment_steps(segment)
    ]
    items += [(None, node) for node in network.host]
    read = {name for segment in range(1, compiled.segments) for name in network.host_reads(segment)} | set(
        network.outputs
    )
    rows = []
    for number, (segment, node) in enumerate(items):
        file = f"host{number}.onnx"
        (folder / file).write_bytes(node.model)
        inputs = [_described(design, name, compiled.read_pieces(name) if name in read else []) for name in node.inputs]
        result = _described(design, node.output, compiled.write_pieces(node.output) if segment is not None else [])
        rows.append({"name": node.name, "model": file, "segment": segment, "inputs": inputs, "result": result})
    return rows


def _write_front(design, folder):
    """Write the ONNX model of what the host does to an image before it is quantized; its file, or None."""
    if design.graph.front is None:
        return None
    (folder / "front.onnx").write_bytes(design.graph.front.given.model)
    return "front.onnx"


def _image(design):
    """The image; with ``im2col``, its channels are (piece, channel, kernel row, kernel column): what that kernel sees.

    Of ``rows`` x ``cols`` pixels; ``first_rows`` are the image's rows at which the pieces begin, and rows and columns
    outside of it hold ``pad_value``.

    ``order``: the axes of the model's own input, without the batch, that are channels, rows and columns; empty as they
    are. Of a model with several inputs the image is all of them, and is not written itself: its ``parts`` are.
    """
    network = design.network
    im2col = network.taps.settings() if network.taps is not None else None
    name = design.graph.input
    pieces = [] if design.graph.parts else design.compiled.write_pieces(name)
    return _described(design, name, pieces) | {
        "im2col": im2col,
        "order": design.graph.onnx_input_order,
    }


def _part(design, part):
    """One of several inputs: elements from ``first`` on of all of them. Without pieces the host alone takes it."""
    node = next(node for node in design.graph.nodes if node.output == part.value)
    described = _described(design, part.value, design.compiled.write_pieces(part.value))
    return described | {"input": part.takes.name, "order": part.order, "first": node.first}


def _described(design, name, pieces):
    """A value as a driver needs it: a piece has ``rows`` rows of ``width`` words, ``ranges`` of bytes by port."""
    value = design.graph.values[name]
    described = {"value": name, "shape": value.shape}
    if pieces:
        place = design.network.places[name]
        storage = place.storage
        described |= {"first_channel": place.offset, "section": storage.section or storage.channels}
        described["width"] = storage.width
        described["pieces"] = [asdict(piece) for piece in pieces]
    return described
