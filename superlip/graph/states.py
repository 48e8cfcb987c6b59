"""What the importer knows of a tensor that is not a value of the quantized graph yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Params", "Pending", "Unsupported"]


class Unsupported(Exception):
    """Why a node can be neither accelerated nor rewritten."""


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
        """The same tensor behind one more Relu or Clip."""
        lows = [x for x in (self.real_low, low) if x is not None]
        highs = [x for x in (self.real_high, high) if x is not None]
        return replace(
            self,
            real_low=max(lows, default=None),
            real_high=min(highs, default=None),
            names=(*self.names, name),
            chain=None,
        )
