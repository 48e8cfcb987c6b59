"""Kernels folded into channels, so that the array's Tn inputs are in use.

* The first convolution of an image with few channels: the host lays the kernel's rows and columns out as channels once
  (im2col).
* A layer whose last channel group is part-filled writes its channels there several times, for convolutions behind it
  whose kernel columns then share a pass (``Op.fold``). The copies cost nothing; MATMUL takes each from another column.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from superlip.graph import ir
from superlip.ops import Window, spec_of
from superlip.ops.operation import Op
from superlip.rtl.isa import MAX_FOLD

__all__ = ["Taps", "fold_columns", "fold_input", "most_copies"]

Images = ir.Elements
"""Shape (B, C, H, W)."""


def most_copies(channels: int, node: ir.Node, tn: int) -> int:
    """How often the last words of a convolution's input can hold their channels, if that is of use."""
    if not spec_of(node).folds:
        return 1
    last = (channels - 1) % tn + 1
    return next((1 << f for f in range(MAX_FOLD, 0, -1) if last << f <= tn), 1)


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


def fold_input(
    graph: ir.Graph, nodes: list[ir.Node], outputs: list[str], tn: int
) -> tuple[list[ir.Node], Taps | None, tuple[int, int, int]]:
    """Fold the window of the image's only reader into the image's channels, where that makes fewer passes.

    Parameters
    ----------
    nodes : list of ir.Node
        What is not behind the accelerator.
    outputs : list of str
        Values that the host reads.

    Returns
    -------
    nodes, what the host does with images, and the shape that they have then: (C, H, W)
    """
    image = graph.values[graph.input]
    readers = [node for node in nodes if graph.input in node.inputs and spec_of(node).on_host(graph.values) is None]
    if len(readers) == 1 and graph.input not in outputs:
        folded, window = spec_of(readers[0]).unfolded(), spec_of(readers[0]).window
        channels, taps = image.shape[0], math.prod(window.kernel)
        if folded is not None and -(-channels * taps // tn) < -(-channels // tn) * taps:
            _, rows, cols = graph.values[folded.output].shape
            nodes = [folded if node is readers[0] else node for node in nodes]
            return nodes, Taps(window, image.zero_point, rows, cols), (channels * taps, rows, cols)
    return nodes, None, image.shape
