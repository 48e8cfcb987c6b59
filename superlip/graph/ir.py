"""The quantized graph: what the front end makes, the golden computes and the compiler consumes.

Every activation is one image, shape (C, H, W), of elements (``superlip.element``): signed numbers, which stand for a
model's own unsigned ones less the element's offset. Weights and tables are elements, too. A dense layer is a Conv whose
kernel covers its whole input, so Flatten needs no node in front of it.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from superlip.element import INT8, ElementType

from .given import Front, Given
from .images import ImageInput

__all__ = [
    "Value", "Node", "Clipped", "Conv", "Depthwise", "Pool", "Add", "Mul", "Table", "Concat", "Slice", "Part",
    "InputPart", "Reshape", "Pad", "Resize", "Interleave", "Stack", "Interpolate", "DepthToSpace", "SpaceToDepth",
    "Shuffle", "Halves", "Host", "Graph", "Elements", "Shape", "integers_of",
]  # fmt: skip


Shape = tuple[int, int, int]
"""(C, H, W)."""

Elements = NDArray[Any]
"""Of type ``Value.element``."""


@dataclass(frozen=True, eq=False)
class Value:
    """One activation tensor.

    ``real = scale * (number - zero_point)`` with numbers of type ``element``; ``shape`` is (C, H, W). ``is_unsigned``
    says that the model's own numbers are unsigned. ``is_float`` marks a host value (Host outputs).
    """

    name: str
    shape: Shape
    scale: float
    zero_point: int
    is_unsigned: bool = False
    is_float: bool = False
    element: ElementType = INT8

    @property
    def own_zero_point(self) -> int:
        """The zero point as the model's own number."""
        return self.zero_point + self.element.own_offset(self.is_unsigned)

    @property
    def real_bounds(self) -> tuple[float, float]:
        """(smallest, largest) real number that an element stands for."""
        return (self.element.low - self.zero_point) * self.scale, (self.element.high - self.zero_point) * self.scale

    def quantize(self, reals: NDArray) -> NDArray:
        """Elements of real numbers: clip(rint(x / scale) + zero_point) in float32, as QuantizeLinear does."""
        scaled = np.rint(reals.astype(np.float32) / np.float32(self.scale))
        return self.element.saturate(scaled + np.float32(self.zero_point))

    def dequantize(self, elements: NDArray) -> NDArray[np.float32]:
        """The real numbers that elements stand for: (q - zero_point) * scale in float32, as DequantizeLinear does."""
        return (elements.astype(np.int32) - self.zero_point).astype(np.float32) * np.float32(self.scale)


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """One operation; ``name`` is unique in the graph, ``onnx_names`` are the model's nodes it stands for."""

    name: str
    inputs: tuple[str, ...]
    output: str
    onnx_names: tuple[str, ...] = ()

    @property
    def is_arithmetic(self) -> bool:
        """Whether it adds or multiplies: a graph without such a node has nothing for the accelerator."""
        return False

    @property
    def function(self) -> Elements | None:
        """Of a node that only applies a function to each element: its table, one entry a bit pattern."""
        return None

    def clipped(self, low: int, high: int) -> Self | None:
        """The node with a further clip of its result; None where it has none."""
        return None

    def through(self, table: Elements, before: Value) -> Self | None:
        """The node with a table behind its result, ``before``; None where it has no place for one."""
        return None


@dataclass(frozen=True, eq=False, kw_only=True)
class Clipped(Node):
    """A node that computes and ends in a clip to [low, high] (Relu, Clip fused)."""

    low: int = INT8.low
    high: int = INT8.high

    @property
    def is_arithmetic(self) -> bool:
        return True

    def clipped(self, low: int, high: int) -> Self | None:
        low, high = (min(max(bound, low), high) for bound in (self.low, self.high))
        return replace(self, low=low, high=high)


@dataclass(frozen=True, eq=False, kw_only=True)
class Conv(Clipped):
    """clip(rint(float32(acc) * scale) + zp_out), acc = sum(w * x) + bias, x = input zero point in the padding.

    Parameters
    ----------
    weights : ndarray of elements, shape (M, N / groups, kh, kw)
    bias : ndarray int32, shape (M,)
        With the input's zero point folded in: model bias - zp_in * sum(w).
    scale : ndarray float32, shape (M,)
        float32 of input scale * weight scale / output scale, in ONNX Runtime's order of operations.
    strides, dilations : (y, x)
    pads : (top, left, bottom, right)
    """

    weights: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    table: np.ndarray | None = None
    """Elements, one a bit pattern: applied to the result, where an element-wise function was fused."""
    table_zero_point: int = 0
    """With a table: zp_out of the result in front of it (the output value's zero point is the table's result's)."""

    def clipped(self, low: int, high: int) -> Self | None:
        return None if self.table is not None else super().clipped(low, high)

    def through(self, table: Elements, before: Value) -> Self:
        if self.table is None:
            return replace(self, table=table, table_zero_point=before.zero_point)
        return replace(self, table=before.element.look_up(table, self.table))


@dataclass(frozen=True, eq=False, kw_only=True)
class Depthwise(Conv):
    """A convolution of 3x3 with a filter for each channel, which VECTOR runs."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pool(Clipped):
    """Max or average pooling.

    Average: rint(float32(sum(x - zp_in)) * scale[count]) + zp_out with ``count`` the pixels counted in the window;
    ``scale`` is float32, shape (kh * kw + 1,), entry 0 unused. Maximum: ``scale`` is None.
    """

    kind: str  # "max" or "average"
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    count_include_pad: bool = False
    scale: np.ndarray | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Add(Clipped):
    """clip(round_half_even((a - zp_a) * mult_a + (b - zp_b) * mult_b, shift) + zp_out).

    Exact integers; |mult| < 2**26.
    """

    mult_a: int
    mult_b: int
    shift: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Mul(Clipped):
    """clip(rint(float32((a - zp_a) * (b - zp_b)) * scale) + zp_out). ``b`` may be (C, 1, 1)."""

    scale: float


@dataclass(frozen=True, eq=False, kw_only=True)
class Table(Node):
    """Element-wise: out = table[bit pattern of x]; ``table``: elements, shape (patterns,)."""

    table: np.ndarray

    @property
    def function(self) -> Elements | None:
        return self.table

    def through(self, table: Elements, before: Value) -> Self | None:
        return replace(self, table=before.element.look_up(table, self.table))


@dataclass(frozen=True, eq=False, kw_only=True)
class Concat(Node):
    """Channels one after the other; ``tables[i]`` (elements, one a bit pattern) rescales input i, or is None."""

    tables: tuple[np.ndarray | None, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice(Node):
    """Channels [start, stop)."""

    start: int
    stop: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Part(Node):
    """One of a model's several inputs: elements [first, first + C * H * W) of all of them together."""

    first: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Reshape(Node):
    """The same bytes in (C, H, W) order with another shape; same scale and zero point."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Pad(Node):
    """Rows and columns of ``value`` (an element) around the image: pads = (top, left, bottom, right)."""

    pads: tuple[int, int, int, int]
    value: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Resize(Node):
    """Nearest neighbour: out[r, c] = in[rows[r], cols[c]]."""

    rows: np.ndarray
    cols: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Interleave(Node):
    """Rows of the inputs in turn: row r is row r // n of input r % n, of n inputs of one shape.

    ``tables[i]`` (elements, one a bit pattern) rescales input i, or is None.
    """

    tables: tuple[np.ndarray | None, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Stack(Node):
    """Rows (axis 1) or columns (axis 2) of the inputs one after the other.

    ``tables[i]`` (elements, one a bit pattern) rescales input i, or is None.
    """

    axis: int
    tables: tuple[np.ndarray | None, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Halves(Node):
    """The image in pieces of ``rows`` rows, side by side: channel p * C + c is channel c of rows [first[p], ...).

    Pieces may have rows in common. Rows outside the image hold ``value`` (an element).
    """

    first: tuple[int, ...]
    rows: int
    value: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Interpolate(Clipped):
    """Linear interpolation: clip(rint(float32(sum(w * (x - zp_in))) * float32(scale / sum(w))) + zp_out).

    A block of len(rows) x len(cols) pixels takes the place of each pixel. Row y of it takes rows[y] = (offset, weights)
    of the operand: the row at the pixel's number plus ``offset``, and those behind it. Weights of rows and columns are
    multiplied, and brought to 127 where they leave elements. The operand has all rows and columns that this needs.
    ``scale`` is the operand's over the result's.
    """

    rows: tuple[tuple[int, tuple[int, ...]], ...]
    cols: tuple[tuple[int, tuple[int, ...]], ...]
    scale: float


@dataclass(frozen=True, eq=False, kw_only=True)
class DepthToSpace(Node):
    """ONNX DepthToSpace; ``mode`` is "DCR" or "CRD"."""

    block: int
    mode: str = "DCR"


@dataclass(frozen=True, eq=False, kw_only=True)
class SpaceToDepth(Node):
    """ONNX SpaceToDepth."""

    block: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Shuffle(Node):
    """Channel permutation: out[i] = in[order[i]]."""

    order: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Host(Node):
    """Runs on the host through ONNX Runtime: ``model`` (serialized ONNX) from ``inputs`` to ``output``."""

    model: bytes
    reason: str


def integers_of(name: str) -> str:
    """Name of the integers of a tensor that a float model has itself."""
    return f"{name}/{INT8}"


@dataclass(frozen=True)
class InputPart:
    """One of a model's several inputs.

    ``value`` has its elements, ``order`` are its axes, without the batch, that are C, H, W; () where they are in that
    order.
    """

    takes: ImageInput
    value: str
    order: tuple[int, ...] = ()


@dataclass(eq=False, repr=False)
class Graph:
    """Nodes in topological order; ``values`` by name; one input, at least one output.

    Of a model with several inputs, ``input`` holds the elements of all ``parts``, one after another, shape (F, 1, 1),
    and a `Part` node gives each its value.

    ``model`` is the quantized ONNX model (serialized) that ONNX Runtime runs for the cross-check; ``onnx_outputs``
    are its output names, in the order of ``outputs``.
    """

    name: str
    values: dict[str, Value]
    nodes: list[Node]
    input: str
    outputs: list[str]
    model: bytes
    notes: list = field(default_factory=list)
    onnx_input: str = ""
    onnx_input_shape: tuple[int, ...] = ()
    """Of the model's input, without the batch; () as the value ``input``."""
    onnx_input_order: tuple[int, ...] = ()
    """Axes of the model's input, without the batch, that are C, H, W; () where they are in that order."""
    onnx_input_type: str = str(INT8)
    """numpy's name of what the model's input takes: float32, or the value's own integers, signed or unsigned."""
    parts: tuple[InputPart, ...] = ()
    """The model's inputs, where it has several."""
    front: Front | None = None
    """What the host does to an image first, where the model does something before it quantizes: ``onnx_input`` is what
    that gives, and ``model`` begins there."""
    onnx_outputs: list[str] = field(default_factory=list)
    onnx_output_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Of the model's outputs, for one image, with the batch."""
    integer_outputs: frozenset[str] = frozenset()
    """Those of the model's outputs that are integers themselves."""
    given: Given | None = None
    """The model as the user gave it: what the outputs are held against."""
    calibration: np.ndarray | None = None
    """Images that a float model was quantized with, as it takes them."""
    channel_scales: dict[str, np.ndarray] = field(default_factory=dict)
    """By how much each channel of a tensor of the model's own is divided here, where it is: shape (C,)."""
    has_random_weights: bool = False
    agreement: Any = None
    """``superlip.golden.Agreement`` on calibration images, where somebody has judged it."""

    def users(self) -> dict[str, list[Node]]:
        """Value name -> nodes that take it, once for each time that they do."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                found.setdefault(name, []).append(node)
        return found

    def makers(self) -> dict[str, Node]:
        """Value name -> the node that makes it."""
        return {node.output: node for node in self.nodes}

    def own_tensor(self, name: str) -> str:
        """The model's own name of a value's tensor."""
        return name.removesuffix(integers_of(""))

    def __repr__(self):
        inputs, outputs = (
            ", ".join(f"{self.own_tensor(name)} {self.values[name].shape}" for name in names)
            for names in ([part.value for part in self.parts] or [self.input], self.outputs)
        )
        return f"<Graph {self.name!r}: {inputs} -> {outputs}, {len(self.nodes)} nodes>"
