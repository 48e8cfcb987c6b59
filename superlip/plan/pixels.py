"""Pixels of a pooling's windows that a convolution in front of it makes at once.

A convolution of few channels leaves most of the array's outputs idle. Where a maximum pooling is fused into it, its
filters are there once for each pixel of the pooling's window, in a kernel that is larger by the way between these
pixels, and go over the image in the pooling's strides. VECTOR writes the largest of each channel's results
(``Op.pixels``). It is done where that saves cycles, for windows that all lie inside of the convolution's results: in
both directions, or in one, the other being pooled as before.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from superlip.graph import ir
from superlip.ops import spec_of
from superlip.rtl.isa import FORMATS, MAX_LANE_MAX, Opcode

from .folding import most_copies, passes, taps_fold
from .timing import matmul_cycles

__all__ = ["Shared", "share_pixels"]

_FIELDS = FORMATS[Opcode.MATMUL].layout
LONGEST = min((1 << _FIELDS[name].width) - 1 for name in ("kh", "kw", "stride_y", "stride_x"))
"""Largest kernel and stride of MATMUL."""


class Shared(NamedTuple):
    """A convolution that makes several results at once, and the pooling behind it.

    ``node`` is `OpSpec.several` of it, ``pool`` what is left to be done with its sums (None: nothing), of which there
    are ``size`` (rows, cols); ``whole`` is all of the pooling. ``pixels`` are as of `Op`.
    """

    node: ir.Node
    pool: ir.Pool | None
    size: tuple[int, int]
    whole: ir.Pool
    pixels: int = 1


class _Side(NamedTuple):
    """What is done of a pooling in one direction: a lane group's pixel is ``places`` from every ``step``-th result."""

    places: tuple[int, ...]
    step: int
    results: int
    kernel: int
    stride: int
    pads: tuple[int, int]


def share_pixels(
    conv: ir.Node, pool: ir.Pool, values: dict[str, ir.Value], tn: int, *, copied: bool, is_first: bool, row_words: int
) -> Shared | None:
    """The convolution with as many pixels of the pooling's windows at once as saves the most; None: no more than one.

    Parameters
    ----------
    pool : ir.Pool
        A maximum pooling that is fused into the convolution.
    copied : bool
        Whether the convolution's input can hold its channels several times.
    is_first : bool
        Whether it is all that reads the image.
    row_words : int
        Words of weights that a kernel row of an n-tile may take.
    """
    source, sums = values[conv.inputs[0]], values[conv.output]
    plain = Shared(conv, pool, sums.shape[1:], pool)

    def cycles(shared: Shared) -> list[int]:
        """Of MATMUL, of VECTOR, and of DRAM for the image, if a word of it takes one."""
        rows, cols = shared.size
        words, sets, copies = -(-source.shape[0] // tn) * math.prod(source.shape[1:]), 0, 1
        if is_first and taps_fold(shared.node, source.shape[0], tn):
            sets = -(-source.shape[0] * math.prod(spec_of(shared.node).window.kernel) // tn)
            words = sets * rows * cols
        else:
            copies = most_copies(source.shape[0], shared.node, tn) if copied else 1
            sets = passes(shared.node, source.shape[0], tn, copies)
        window = 1 if shared.pool is None else math.prod(shared.pool.kernel)
        matmul = matmul_cycles(sets, rows * (cols + copies - 1), 1, tn)
        return [matmul, window * math.prod(values[pool.output].shape[1:]), words if is_first else 0]

    found = [each for each in _candidates(conv, pool, values, tn) if _fits(each.node, tn, row_words)]
    best = min(found, key=lambda each: (max(cycles(each)), sum(cycles(each))), default=plain)
    return best if max(cycles(best)) < max(cycles(plain)) else None


def _candidates(conv: ir.Node, pool: ir.Pool, values: dict[str, ir.Value], tn: int) -> Iterator[Shared]:
    sums, results = values[conv.output], values[pool.output]
    ways = [_ways(pool, axis, sums.shape[1 + axis], results.shape[1 + axis]) for axis in range(2)]
    for down, across in itertools.product(*ways):
        places = list(itertools.product(down.places, across.places))
        too_many = len(places) > 1 << MAX_LANE_MAX or len(places) * sums.shape[0] > tn
        if too_many or (len(places), down.step, across.step) == (1, 1, 1):
            continue
        node = spec_of(conv).several(places, (down.step, across.step))
        if node is None or max(*spec_of(node).window.kernel, *spec_of(node).window.strides) > LONGEST:
            continue
        left = None
        if (down.kernel, across.kernel) != (1, 1):
            left = dataclasses.replace(
                pool, kernel=(down.kernel, across.kernel), strides=(down.stride, across.stride),
                pads=(down.pads[0], across.pads[0], down.pads[1], across.pads[1]),
            )  # fmt: skip
        yield Shared(node, left, (down.results, across.results), pool, len(places))


def _ways(pool: ir.Pool, axis: int, sums: int, results: int) -> list[_Side]:
    """A pooling in one direction, as it is and, where no window leaves the sums, with all of a window's at once."""
    kernel, stride, pads = pool.kernel[axis], pool.strides[axis], (pool.pads[axis], pool.pads[axis + 2])
    ways = [_Side((0,), 1, sums, kernel, stride, pads)]
    if pads[0] == 0 and (results - 1) * stride + kernel <= sums:
        groups = 1 << (kernel - 1).bit_length()  # a pixel may be there twice
        places = tuple(min(number, kernel - 1) for number in range(groups))
        whole = _Side(places, stride, results, 1, 1, (0, 0))
        ways = [whole] if kernel == 1 else [*ways, whole]
    return ways


def _fits(node: ir.Node, tn: int, row_words: int) -> bool:
    return spec_of(node).window.kernel[1] * tn <= row_words
