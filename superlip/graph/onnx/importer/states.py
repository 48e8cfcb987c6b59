"""What the importer knows of a tensor that is not a value of the quantized graph yet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto

from superlip.element import INT8, ElementType
from superlip.graph import ir
from superlip.graph.images import ImageInput
from superlip.graph.onnx.functions import clip_together
from superlip.graph.onnx.views import View

__all__ = ["ByChannel", "Hosted", "ModelInput", "Params", "Pending", "Unhostable", "Unsupported"]


class Unsupported(Exception):
    """Why a node can be neither accelerated nor rewritten; ``node`` is its name where it is not the one at work."""

    def __init__(self, why: str, node: str | None = None):
        super().__init__(why)
        self.node = node


class Unhostable(Unsupported):
    """Why not even the host can run a node."""


@dataclass
class ModelInput:
    """One of the model's image inputs.

    ``shape`` is with the batch, ``order`` are its axes, without the batch, that are C, H, W (() as they are), and
    ``dtype`` is numpy's name of its type. ``value`` is None until somebody says its scale.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    order: tuple[int, ...] = ()
    value: str | None = None

    @property
    def takes(self) -> ImageInput:
        """What its images must be."""
        return ImageInput(self.name, self.shape[1:], self.dtype)


@dataclass(frozen=True)
class Hosted:
    """A tensor of the model that the host makes: the value that holds it, its shape and type in the model."""

    value: str
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True)
class Params:
    """Scale, zero point, whether the model's own numbers are unsigned, and the type of ours.

    ``by_channel`` has a scale for each channel where a convolution is to give such a result: ``scale`` is the largest.
    """

    scale: np.float32
    zero_point: int
    is_unsigned: bool = False
    element: ElementType = INT8
    by_channel: tuple[np.float32, ...] = ()

    @classmethod
    def of(cls, value: ir.Value) -> "Params":
        """Of a value of the quantized graph."""
        return cls(np.float32(value.scale), value.zero_point, value.is_unsigned, value.element)

    @property
    def offset(self) -> int:
        """What the model's own number is above ours."""
        return self.element.own_offset(self.is_unsigned)

    def bound(self, real: float) -> int:
        """The element of a real number, which may be infinite."""
        with np.errstate(over="ignore"):
            return self.element.clip(np.rint(np.float32(real) / self.scale) + self.zero_point)

    def bounds(self, clip: tuple[float, float]) -> tuple[int, int]:
        """(low, high) in elements of a clip by two real numbers."""
        return self.bound(clip[0]), self.bound(clip[1])


@dataclass(frozen=True, eq=False)
class ByChannel:
    """A dequantized tensor with a scale for each channel, float32, shape (C,): of integers that are ``view``."""

    view: View
    scales: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Pending:
    """A float tensor whose node is made once its quantization is known.

    ``finish(params, tensor, low, high, names)``, with a clip by two elements, adds the node and returns the View of its
    result; ``tensor`` is the model's name of that result, ``names`` the model's nodes it stands for. ``clip`` (low,
    high: real numbers) collects Relu and Clip. ``chain`` is (view, nodes, constants) where the tensor is an
    element-wise function of one view, or of what is pending itself.
    """

    finish: Callable[[Params, str, int, int, Sequence[str]], View]
    shape: tuple[int, ...]
    names: tuple[str, ...]
    clip: tuple[float, float] = (-np.inf, np.inf)
    chain: "tuple[View | Pending, tuple[NodeProto, ...], dict[str, NDArray]] | None" = None

    def clipped(self, clip: tuple[float, float], name: str) -> "Pending":
        """The same tensor behind one more Relu or Clip."""
        return replace(self, clip=clip_together(self.clip, clip), names=(*self.names, name), chain=None)
