"""What the importer knows of a tensor that is not a value of the quantized graph yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from superlip.graph.onnx.functions import clip_together

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

    def bound(self, real):
        """int8 of a real number, which may be infinite."""
        with np.errstate(over="ignore"):
            q = np.rint(np.float32(real) / self.scale) + self.zero_point
        return int(np.clip(q, -128, 127))

    def bounds(self, clip):
        """(low, high) in int8 of a clip by two real numbers."""
        return self.bound(clip[0]), self.bound(clip[1])


@dataclass(frozen=True, eq=False)
class Pending:
    """A float tensor whose node is made once its quantization is known.

    ``finish(params, tensor, low, high, names)`` adds the node and returns the View of its result; ``tensor`` is the
    model's name of that result, ``names`` the model's nodes it stands for. ``clip`` (low, high: real numbers) collects
    Relu and Clip. ``chain`` is (view, nodes) where the tensor is an element-wise function of one view.
    """

    finish: Callable
    shape: tuple[int, ...]
    names: tuple[str, ...]
    clip: tuple[float, float] = (-np.inf, np.inf)
    chain: tuple | None = None

    def clipped(self, clip, name):
        """The same tensor behind one more Relu or Clip."""
        return replace(self, clip=clip_together(self.clip, clip), names=(*self.names, name), chain=None)
