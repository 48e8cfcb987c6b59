"""Linear interpolation by whole factors: a small convolution of each channel for every pixel of a block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from superlip.graph import ir
from superlip.graph.onnx.onnxtools import small_model, tensor_type

from .arithmetic import convolve, requantize
from .lowering import Lowering
from .operation import Op
from .spec import OpSpec, Tensor, register

__all__ = ["InterpolateSpec"]


@dataclass(frozen=True, eq=False)
class _Pixel:
    """One pixel (y, x) of a block: what it takes of the pixels of the operand from ``top``, ``left`` on."""

    y: int
    x: int
    top: int
    left: int
    weights: NDArray[np.int8]
    scale: np.float32


@register(ir.Interpolate)
class InterpolateSpec(OpSpec[ir.Interpolate]):
    """Pixels of the result that lie alike between those of the operand are one convolution, written with gaps."""

    spreads_pixels = True

    def lower(self, lowering: Lowering) -> None:
        node = self.node
        source, dest = lowering.place(node.inputs[0]), lowering.place(node.output)
        zero_points = tuple(lowering.graph.values[name].zero_point for name in (*node.inputs, node.output))
        step = len(node.rows), len(node.cols)
        grid = dest.size[0] // step[0], dest.size[1] // step[1]
        for pixel in self._pixels():
            name = f"{node.name}.{pixel.y}.{pixel.x}"
            weights = np.tile(pixel.weights, (dest.channels, 1, 1, 1))
            total = int(pixel.weights.sum(dtype=np.int64))
            conv = ir.Conv(
                name=name, inputs=(), output=dest.storage.name, weights=weights,
                bias=np.full(dest.channels, -zero_points[0] * total, np.int32),
                scale=np.full(dest.channels, pixel.scale, np.float32), pads=(-pixel.top, -pixel.left, 0, 0),
                groups=dest.channels, low=node.low, high=node.high,
            )  # fmt: skip
            lowering.add(Op(name, conv, (source,), dest, zero_points, grid, step=step, origin=(pixel.y, pixel.x)))

    def work(self, result: ir.Value) -> int:
        return 4 * math.prod(result.shape)

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        node, x, zero = self.node, inputs[0], sources[0].zero_point
        sy, sx = len(node.rows), len(node.cols)
        channels, rows, cols = result.shape
        y = np.empty((len(x), channels, rows, cols), result.element.dtype)
        for pixel in self._pixels():
            kh, kw = pixel.weights.shape[2:]
            part = x[:, :, pixel.top : pixel.top + rows // sy + kh - 1, pixel.left : pixel.left + cols // sx + kw - 1]
            sums = convolve(
                part, np.tile(pixel.weights, (channels, 1, 1, 1)),
                np.full(channels, -zero * int(pixel.weights.sum(dtype=np.int64)), np.int32), strides=(1, 1),
                pads=(0, 0, 0, 0), dilations=(1, 1), groups=channels, pad_value=0,
            )  # fmt: skip
            y[:, :, pixel.y :: sy, pixel.x :: sx] = requantize(
                sums, pixel.scale, result.zero_point, node.low, node.high, result.element
            )
        return y

    def host_model(self, values: dict[str, ir.Value]) -> bytes:
        """The same integers in float32, which holds all sums: for a host, where the node has no room for the result."""
        node = self.node
        source, result = values[node.inputs[0]], values[node.output]
        channels, rows, cols = result.shape
        sy, sx = len(node.rows), len(node.cols)
        kind = tensor_type(source.element.dtype)
        numbers = {
            "source_zero": source.zero_point, "result_zero": result.zero_point, "low": node.low, "high": node.high,
        }  # fmt: skip
        constants: dict[str, NDArray] = {name: np.array(number, np.float32) for name, number in numbers.items()}
        constants |= {
            "axes": np.array([2, 3], np.int64),
            "blocks": np.array([sy, sx, channels, rows // sy, cols // sx], np.int64),
            "shape": np.array([1, channels, rows, cols], np.int64),
        }  # fmt: skip
        nodes = [
            helper.make_node("Cast", ["image"], ["numbers"], to=1),
            helper.make_node("Sub", ["numbers", "source_zero"], ["centred"]),
        ]
        names = []
        for pixel in self._pixels():
            at = f"{pixel.y}.{pixel.x}"
            kh, kw = pixel.weights.shape[2:]
            ends = pixel.top + rows // sy + kh - 1, pixel.left + cols // sx + kw - 1
            constants |= {
                f"first{at}": np.array([pixel.top, pixel.left], np.int64), f"end{at}": np.array(ends, np.int64),
                f"weights{at}": np.tile(pixel.weights, (channels, 1, 1, 1)).astype(np.float32),
                f"scale{at}": np.array(pixel.scale, np.float32),
            }  # fmt: skip
            nodes += [
                helper.make_node("Slice", ["centred", f"first{at}", f"end{at}", "axes"], [f"part{at}"]),
                helper.make_node("Conv", [f"part{at}", f"weights{at}"], [f"sums{at}"], group=channels),
                helper.make_node("Mul", [f"sums{at}", f"scale{at}"], [f"steps{at}"]),
            ]
            names.append(f"steps{at}")
        nodes += [
            helper.make_node("Concat", names, ["steps"], axis=1),
            helper.make_node("Round", ["steps"], ["rounded"]),
            helper.make_node("Add", ["rounded", "result_zero"], ["own"]),
            helper.make_node("Clip", ["own", "low", "high"], ["clipped"]),
            helper.make_node("Cast", ["clipped"], ["elements"], to=kind),
            helper.make_node("Reshape", ["elements", "blocks"], ["split"]),
            helper.make_node("Transpose", ["split"], ["ordered"], perm=[2, 3, 0, 4, 1]),
            helper.make_node("Reshape", ["ordered", "shape"], ["result"]),
        ]
        return small_model(nodes, [("image", kind, [1, *source.shape])], ["result"], constants, {"": 17})

    def _pixels(self) -> Iterator[_Pixel]:
        node = self.node
        for y, (top, rows) in enumerate(node.rows):
            for x, (left, cols) in enumerate(node.cols):
                weights = np.outer(rows, cols)
                if weights.max() > np.iinfo(np.int8).max:
                    weights = np.rint(weights * (np.iinfo(np.int8).max / weights.max()))
                scale = np.float32(node.scale / weights.sum())
                yield _Pixel(y, x, top, left, weights.astype(np.int8)[None, None], scale)
