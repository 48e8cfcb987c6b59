"""What the importer knows of a tensor that is not a value of the quantized graph yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Params", "Pending", "Unsupported"]


class Unsupported(Exception):
    """Why a node can be neither accelerated nor rewritten; ``node`` is its name where it is not the one at work."""

    def __init__(self, why, node=None):
        super().__init__(why)
        self.node = node


@dataclass(frozen=True)
class Params:
    """Scale, int8 zero point, and whether the model's own type is uint8."""

    scale: np.float32
    zero_point: int
    is_unsigned: bool = False

    def bound(self, real, default):
        """int8 of a clip bound given as a real number; None gives ``default``."""
        if real is None:
            return default
        with np.errstate(over="ignore"):
            q = np.rint(np.float32(real) / self.scale) + self.zero_point
        return int(np.clip(q, -128, 127))


@dataclass(frozen=True, eq=False)
class Pending:
    """A float tensor whose node is made once its quantization is known.

    ``finish(params, tensor, low, high, names)`` adds the node and returns the View of its result; ``tensor`` is the
    model's name of that result, ``names`` the model's nodes it stands for. ``real_low`` and ``real_high`` collect
    Relu and Clip. ``chain`` is (view, nodes) where the tensor is an element-wise function of one view.
    """

    finish: Callable
    shape: tuple[int, ...]
    names: tuple[str, ...]
    real_low: float | None = None
    real_high: float | None = None
    chain: tuple | None = None

    def clipped(self, low, high, name):
        """The same tensor behind one more Relu or Clip, ``low`` at most ``high``: it clips the bounds so far too."""

        def inside(bound, ends):
            return min(max(ends[0], bound), ends[1])

        ends = (-np.inf if low is None else low, np.inf if high is None else high)
        return replace(
            self,
            real_low=low if self.real_low is None else inside(self.real_low, ends),
            real_high=high if self.real_high is None else inside(self.real_high, ends),
            names=(*self.names, name),
            chain=None,
        )
