"""Maximum and average pooling."""

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np

from superlip.graph import ir

from .arithmetic import requantize
from .spec import OpSpec, Tensor, Window, register

__all__ = ["PoolSpec"]


@register(ir.Pool)
class PoolSpec(OpSpec[ir.Pool]):
    """A pooling: VECTOR goes through the pixels of each window."""

    @property
    def window(self) -> Window:
        return Window(self.node.kernel, self.node.strides, self.node.pads)

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node, x = self.node, inputs[0]
        if node.kind == "max":
            return np.clip(reduce(np.maximum, self._pixels(x, -128)), node.low, node.high).astype(np.int8)
        assert node.scale is not None
        total = reduce(np.add, self._pixels(x.astype(np.int32) - sources[0].zero_point, 0))
        if node.count_include_pad:
            count = np.full((1, 1, *total.shape[2:]), node.kernel[0] * node.kernel[1])
        else:
            count = reduce(np.add, self._pixels(np.ones((1, 1, *x.shape[2:]), np.int32), 0))
        return requantize(total, node.scale[count], result.zero_point, node.low, node.high)

    def _pixels(self, x: Tensor, fill: int) -> Iterator[Tensor]:
        """For each position in the window, that pixel of every window; padding holds ``fill``."""
        top, left, bottom, right = self.node.pads
        x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
        (kh, kw), (sy, sx) = self.node.kernel, self.node.strides
        rows, cols = (x.shape[2] - kh) // sy + 1, (x.shape[3] - kw) // sx + 1
        for ky in range(kh):
            for kx in range(kw):
                yield x[:, :, ky : ky + sy * (rows - 1) + 1 : sy, kx : kx + sx * (cols - 1) + 1 : sx]
