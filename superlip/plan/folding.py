"""Kernels folded into channels, so that the array's Tn inputs are in use.

* The first convolution of an image with few channels: the host lays the kernel's rows and columns out as channels once
  (im2col).
* A layer whose last channel group is part-filled writes its channels there several times, for convolutions behind it
  whose kernel columns then share a pass (``Op.fold``). The copies cost nothing; MATMUL takes each from another column.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from superlip.graph import ir
from superlip.ops import Window, spec_of
from superlip.ops.operation import Op
from superlip.rtl.isa import MAX_FOLD

__all__ = ["Taps", "fold_columns", "fold_input", "image_reader", "most_copies", "passes", "taps_fold"]

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
    """

    window: Window
    pad_value: int
    rows: int
    cols: int

    def settings(self) -> dict[str, Any]:
        """What a driver needs to do the same."""
        return self.window._asdict() | {"pad_value": self.pad_value}

    def __call__(self, images: Images) -> Images:
        (kh, kw), (sy, sx), (top, left, bottom, right), (dy, dx) = self.window
        rows, cols = self.rows, self.cols
        edges = ((0, 0), (0, 0), (top, bottom), (left, right))
        padded = np.pad(images, edges, constant_values=self.pad_value)
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
    readers = [node for node in nodes if graph.input in node.inputs and spec_of(node).on_host(graph.values) is None]
    return readers[0] if len(readers) == 1 and graph.input not in outputs else None


def fold_input(
    graph: ir.Graph, nodes: list[ir.Node], outputs: list[str], tn: int, sizes: Mapping[str, tuple[int, int]]
) -> tuple[list[ir.Node], Taps | None, tuple[int, int, int]]:
    """Fold the window of the image's only reader into the image's channels, where that makes fewer passes.

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
    image, reader = graph.values[graph.input], image_reader(graph, nodes, outputs)
    if reader is not None and taps_fold(reader, image.shape[0], tn):
        folded, window = spec_of(reader).unfolded(), spec_of(reader).window
        assert folded is not None
        rows, cols = sizes.get(folded.output, graph.values[folded.output].shape[1:])
        nodes = [folded if node is reader else node for node in nodes]
        channels = image.shape[0] * math.prod(window.kernel)
        return nodes, Taps(window, image.zero_point, rows, cols), (channels, rows, cols)
    return nodes, None, image.shape
