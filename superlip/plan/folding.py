"""Kernels folded into channels, so that the array's Tn inputs are in use.

* The first convolution of an image with few channels: the host lays the kernel's rows and columns out as channels once
  (im2col).
* A layer whose last channel group is part-filled writes its channels there several times, for convolutions behind it
  whose kernel columns then share a pass (``Op.fold``). The copies cost nothing; MATMUL takes each from another column.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from superlip.graph import ir
from superlip.ops import Window, spec_of
from superlip.ops.layout import Placement
from superlip.ops.moves import rows_of
from superlip.ops.operation import Op
from superlip.rtl.isa import MAX_FOLD

__all__ = [
    "Taps", "fewest_passes", "fold_columns", "fold_input", "folding_pays", "image_reader", "most_copies", "passes",
    "taps_fold",
]  # fmt: skip

Images = ir.Elements
"""Shape (B, C, H, W)."""


def most_copies(channels: int, node: ir.Node, tn: int) -> int:
    """How often the last words of a convolution's input can hold their channels, if that is of use."""
    if not spec_of(node).folds:
        return 1
    last = (channels - 1) % tn + 1
    return next((1 << f for f in range(MAX_FOLD, 0, -1) if last << f <= tn), 1)


def passes(node: ir.Node, channels: int, tn: int, copies: int = 1) -> int:
    """Passes of a convolution, not of a grouped one, over its pixels, whose input's last words hold so many copies."""
    kh, kw = spec_of(node).window.kernel
    return kh * ((channels - 1) // tn * kw + -(-kw // copies))


def taps_fold(node: ir.Node, channels: int, tn: int) -> bool:
    """Whether a kernel's taps, as channels of the image, make fewer passes."""
    taps = math.prod(spec_of(node).window.kernel)
    return spec_of(node).unfolded() is not None and -(-channels * taps // tn) < passes(node, channels, tn)


def fewest_passes(node: ir.Node, channels: int, tn: int, *, from_image: bool = False) -> int:
    """Passes of a convolution of one group over its pixels, with its input's channels as often in its words as can be.

    ``from_image``: the host lays out what its windows see, where that makes fewer.
    """
    if from_image:
        taps = channels * math.prod(spec_of(node).window.kernel)
        return min(-(-taps // tn), passes(node, channels, tn))
    return passes(node, channels, tn, most_copies(channels, node, tn))


def folding_pays(node: ir.Node, source: Placement, result: tuple[int, int, int]) -> bool:
    """Whether a convolution saves twice the cycles that it takes to move its input to words that hold it several times.

    Parameters
    ----------
    node : ir.Node
    source : Placement
        Of its input, as it lies.
    result : (C, H, W)
        Of the convolution.
    """
    tn = source.storage.tn
    copies, words = most_copies(source.channels, node, tn), -(-source.channels // tn)
    if copies == 1:
        return False
    before = (source.end_group - source.first_group) * math.prod(spec_of(node).window.kernel)
    saved = (before - passes(node, source.channels, tn, copies)) * -(-result[0] // tn) * result[1] * result[2]
    return saved > 2 * words * math.prod(source.size)


def fold_columns(ops: list[Op], tn: int) -> list[Op]:
    """The same operations with ``fold`` and ``copies`` where a convolution's input leaves most lanes of a word idle."""
    ops = list(ops)
    writers: dict[str, list[int]] = {}
    for index, op in enumerate(ops):
        writers.setdefault(op.output.storage.name, []).append(index)
    for index, op in enumerate(ops):
        place = op.inputs[0]
        mine = writers.get(place.storage.name, [])
        if not op.is_conv or len(mine) != 1 or not ops[mine[0]].is_conv:
            continue
        whole = place.channels == place.storage.channels
        copies = most_copies(place.channels, op.node, tn) if whole else 1
        if copies > 1:
            ops[index] = dataclasses.replace(op, fold=copies)
            ops[mine[0]] = dataclasses.replace(ops[mine[0]], copies=copies)
    return ops


@dataclass(frozen=True)
class Taps:
    """im2col of the image: channel (n, ky, kx) of pixel (r, c) is what the window sees there of channel n.

    Parameters
    ----------
    window : Window
    pad_value : int
        What padding pixels hold.
    rows, cols : int
        Of the results.
    first : tuple of int
        Image rows at which pieces of the image begin that lie side by side: channel (piece, n, ky, kx). Rows outside of
        the image hold ``pad_value``.
    """

    window: Window
    pad_value: int
    rows: int
    cols: int
    first: tuple[int, ...] = (0,)

    def settings(self) -> dict[str, Any]:
        """What a driver needs to do the same."""
        size = {"rows": self.rows, "cols": self.cols, "first_rows": self.first}
        return self.window._asdict() | {"pad_value": self.pad_value} | size

    def __call__(self, images: Images) -> Images:
        return np.concatenate([self._piece(images, first) for first in self.first], axis=1)

    def _piece(self, images: Images, first: int) -> Images:
        (kh, kw), (sy, sx), (top, left, _, right), (dy, dx) = self.window
        rows, cols = self.rows, self.cols
        padded = rows_of(images, first - top, (rows - 1) * sy + (kh - 1) * dy + 1, self.pad_value)
        padded = np.pad(padded, ((0, 0), (0, 0), (0, 0), (left, right)), constant_values=self.pad_value)
        taps = [
            padded[:, :, ky * dy : ky * dy + (rows - 1) * sy + 1 : sy, kx * dx : kx * dx + (cols - 1) * sx + 1 : sx]
            for ky in range(kh)
            for kx in range(kw)
        ]
        return np.stack(taps, axis=2).reshape(len(images), -1, rows, cols)


def image_reader(graph: ir.Graph, nodes: list[ir.Node], outputs: list[str]) -> ir.Node | None:
    """The only node that reads the image, if that is one for the accelerator.

    Parameters
    ----------
    nodes : list of ir.Node
        What is not behind the accelerator.
    outputs : list of str
        Values that the host reads.
    """
    readers = _readers(graph, nodes, graph.input)
    return readers[0] if len(readers) == 1 and graph.input not in outputs else None


def fold_input(
    graph: ir.Graph, nodes: list[ir.Node], outputs: list[str], tn: int, sizes: Mapping[str, tuple[int, int]]
) -> tuple[list[ir.Node], Taps | None, tuple[int, int, int]]:
    """Fold the window of the image's readers into the image's channels, where that makes fewer passes.

    Parameters
    ----------
    nodes, outputs
        As of `image_reader`.
    sizes : dict of str to (rows, cols)
        By value, the pixels that its node makes, where they are others than the value has.

    Returns
    -------
    nodes, what the host does with images, and the shape that they have then: (C, H, W)
    """
    image = graph.values[graph.input]
    shape, readers = image.shape, _readers(graph, nodes, graph.input)
    first, rows = spec_of(readers[0]).pieces if len(readers) == 1 else ((), 0)
    if first:
        shape = graph.values[readers[0].output].shape
        readers = _readers(graph, nodes, readers[0].output)
    folded = None if graph.input in outputs else _folded(graph, readers, shape, tn, sizes)
    if folded is not None:
        taps = replace(folded.taps, pad_value=image.zero_point, first=first or (0,))
        replaced = {node.name: node for node in folded.nodes}
        nodes = [replaced.get(node.name, node) for node in nodes]
        return nodes, taps, (shape[0] * math.prod(taps.window.kernel), taps.rows, taps.cols)
    return nodes, Taps(Window(), image.zero_point, rows, shape[2], first) if first else None, shape


class _Folded(NamedTuple):
    """What the host lays out, and the readers of that: 1x1 convolutions."""

    taps: Taps
    nodes: list[ir.Node]


def _folded(
    graph: ir.Graph, readers: list[ir.Node], shape: ir.Shape, tn: int, sizes: Mapping[str, tuple[int, int]]
) -> _Folded | None:
    """The readers of an image folded, all of which have one window but begin and end at rows of their own."""
    unfolded = [made for made in (spec_of(node).unfolded() for node in readers) if made is not None]
    windows = [spec_of(node).window for node in readers]
    if not readers or len(unfolded) < len(readers):
        return None
    (kh, kw), (sy, sx), (_, left, _, right), (dy, dx) = window = windows[0]
    if len(readers) > 1:  # pieces of one result, each of which cuts off the rows of the others
        window = Window((kh, kw), (sy, sx), (0, left, 0, right), (dy, dx))
        if any(w._replace(pads=(0, w.pads[1], 0, w.pads[3])) != window for w in windows):
            return None
        if any(w.pads[0] > 0 or w.pads[2] > 0 or w.pads[0] % sy for w in windows):
            return None
    if not taps_fold(readers[0], shape[0], tn):
        return None
    name = readers[0].output
    rows, cols = sizes.get(name, graph.values[name].shape[1:])
    if len(readers) == 1:
        return _Folded(Taps(window, 0, rows, cols), unfolded)
    rows = (shape[1] - (kh - 1) * dy - 1) // sy + 1
    nodes: list[ir.Node] = []
    for node, own in zip(unfolded, windows, strict=True):
        begin, count = -own.pads[0] // sy, graph.values[node.output].shape[1]
        nodes.append(spec_of(node).padded((-begin, 0, begin + count - rows, 0)))
    return _Folded(Taps(window, 0, rows, cols), nodes)


def _readers(graph: ir.Graph, nodes: list[ir.Node], name: str) -> list[ir.Node]:
    """Nodes of the accelerator that take a value."""
    return [node for node in nodes if name in node.inputs and spec_of(node).on_host(graph.values) is None]
