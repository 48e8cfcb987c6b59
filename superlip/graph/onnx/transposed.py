"""A transposed convolution as a convolution whose channels are the pixels of a block, and DepthToSpace behind it.

With a stride of s, s * s neighbouring pixels of the result are made of the same few pixels of the operand, each with
other weights: they are s * s channels of one convolution at the operand's size. Where the phases reach different
pixels, the kernel is as large as all of them together, with zeros.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlockConvolution", "block_convolution"]


@dataclass(frozen=True, eq=False)
class BlockConvolution:
    """A convolution before DepthToSpace of ``block``, mode CRD: channel (c, y, x) is pixel (y, x) of c's block.

    Parameters
    ----------
    weights : ndarray float32, shape (M * block * block, N / groups, kh, kw)
    pads : (top, left, bottom, right)
    block : int
        1: there is nothing to move.
    size : (rows, cols)
        Of the result: the last blocks may reach beyond it.
    """

    weights: NDArray
    pads: tuple[int, int, int, int]
    block: int
    size: tuple[int, int]


@dataclass(frozen=True)
class _Axis:
    """One axis: taps (phase, pixel of the operand relative to the block's, index in the kernel), and padding."""

    taps: tuple[tuple[int, int, int], ...]
    first: int
    size: int
    pads: tuple[int, int]
    result: int

    @classmethod
    def of(cls, kernel: int, dilation: int, stride: int, begin: int, end: int, extra: int, size: int) -> "_Axis | None":
        result = stride * (size - 1) + dilation * (kernel - 1) + 1 + extra - begin - end
        if result < stride:
            return None
        taps = tuple(
            (phase, (phase + begin - dilation * index) // stride, index)
            for phase in range(stride)
            for index in range(kernel)
            if (phase + begin - dilation * index) % stride == 0
        )
        first = min([0, *(pixel for _, pixel, _ in taps)])
        last = max([0, *(pixel for _, pixel, _ in taps)])
        pads = -first, -(-result // stride) - size + last
        return cls(taps, first, last - first + 1, pads, result) if pads[1] >= 0 else None


def block_convolution(weights: NDArray, attributes: dict[str, Any], size: tuple[int, int]) -> BlockConvolution | None:
    """What a ConvTranspose is as a convolution.

    Parameters
    ----------
    weights : ndarray float32, shape (N, M / groups, kh, kw)
    attributes : dict
        Of the node.
    size : (rows, cols)
        Of its operand.

    Returns
    -------
    BlockConvolution, or None where its strides differ, or its attributes say its padding in another way
    """
    if weights.ndim != 4 or "output_shape" in attributes:
        return None
    if attributes.get("auto_pad", b"NOTSET") != b"NOTSET":
        return None
    strides = tuple(attributes.get("strides", (1, 1)))
    pads, extra = attributes.get("pads", (0, 0, 0, 0)), attributes.get("output_padding", (0, 0))
    if strides[0] != strides[1]:
        return None
    block, dilations = strides[0], attributes.get("dilations", (1, 1))
    axes = [
        _Axis.of(weights.shape[2 + i], dilations[i], block, pads[i], pads[2 + i], extra[i], size[i]) for i in range(2)
    ]
    rows, cols = axes
    if rows is None or cols is None:
        return None
    groups = int(attributes.get("group", 1))
    n, m = weights.shape[0] // groups, weights.shape[1]
    found = np.zeros((groups, m, block, block, n, rows.size, cols.size), weights.dtype)
    own = weights.reshape(groups, n, m, *weights.shape[2:])
    for phase_y, pixel_y, index_y in rows.taps:
        for phase_x, pixel_x, index_x in cols.taps:
            found[:, :, phase_y, phase_x, :, pixel_y - rows.first, pixel_x - cols.first] = own[
                :, :, :, index_y, index_x
            ].transpose(0, 2, 1)
    return BlockConvolution(
        found.reshape(groups * m * block * block, n, rows.size, cols.size),
        (rows.pads[0], cols.pads[0], rows.pads[1], cols.pads[1]), block, (rows.result, cols.result),
    )  # fmt: skip
