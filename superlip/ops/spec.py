"""What superlip knows of an operator: a class for each kind of node of the graph."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, TypeVar

from numpy.typing import NDArray

from superlip.element import ElementType
from superlip.graph import ir

from .layout import Part, Placement
from .lowering import Lowering, LoweringError

if TYPE_CHECKING:
    from .operation import Op

__all__ = ["OpSpec", "Tensor", "Window", "apply", "register", "spec_of"]

N = TypeVar("N", bound=ir.Node)

Tensor = NDArray[Any]
"""A batch of one activation: elements, shape (B, C, H, W); reals where a host computes in floating point."""


class Window(NamedTuple):
    """Which pixels of the input a result is made of; (y, x) each, ``pads`` (top, left, bottom, right)."""

    kernel: tuple[int, int] = (1, 1)
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)


class OpSpec(ABC, Generic[N]):
    """All that differs from operator to operator, for one node.

    A subclass is registered for its class of ``ir`` with `register`, and found for a node with `spec_of`. It must say
    what the node computes; all else has a default. One that VECTOR runs derives from `VectorSpec`, which is lowered to
    one operation. Others say in ``lower`` which operations they are made of, or come to the host with ``on_host``.

    Parameters
    ----------
    node : ir.Node
    """

    is_conv: ClassVar[bool] = False
    """Whether MATMUL runs it, with weights."""
    spreads_pixels: ClassVar[bool] = False
    """Whether the result is its operand's elements at other places, written with gaps that later operations fill."""
    works_in_place: ClassVar[bool] = False
    """Whether a result may take the place of an operand's pixel of the same number."""
    by_columns: ClassVar[bool] = False
    """Whether VECTOR writes the results of an instruction column by column rather than row by row."""
    constants: ClassVar[tuple[tuple[str, str], tuple[str, str]]] = ("bias", "<i4"), ("scale", "<f4")
    """What a lane's parameters are, of four bytes each: (name, numpy's type)."""

    def __init__(self, node: N) -> None:
        self.node = node

    @abstractmethod
    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        """The golden's arithmetic: what the hardware must equal bit by bit.

        Parameters
        ----------
        inputs : list of ndarray of elements, shape (B, C, H, W)
            In the order of ``node.inputs``.
        sources, result
            Scales, zero points and shapes of the inputs and of the output.

        Returns
        -------
        ndarray of elements, shape (B, C, H, W)
        """

    @property
    def window(self) -> Window:
        """Pixels of each input that a result is made of: without more, the one at its place."""
        return Window()

    @property
    def weight_bytes(self) -> int:
        """Bytes of the model's weights, without padding."""
        return 0

    def macs(self, result: ir.Value) -> int:
        """Multiply-accumulates of the model's operation, for one image; 0 for what it doesn't count as such."""
        return 0

    def work(self, result: ir.Value) -> int:
        """About how many multiplications the golden's ``compute`` of one image is worth."""
        return self.macs(result) or 4 * math.prod(result.shape)

    # -- from the graph to operations -----------------------------------------------------------------------------

    def lower(self, lowering: Lowering) -> None:
        """Say what the node's work is in operations, or where its result lies.

        Raises
        ------
        LoweringError
            If the accelerator can't run the node.
        """
        raise LoweringError(f"{self.node.name}: {type(self.node).__name__} does not run on the accelerator")

    def on_host(self, values: dict[str, ir.Value]) -> ir.Host | None:
        """The host's node in the place of this one, where the accelerator can't run it; None where it can.

        Parameters
        ----------
        values : dict of str to ir.Value
            Of the graph.
        """
        return None

    def host_model(self, values: dict[str, ir.Value]) -> bytes | None:
        """Of a node that ``spreads_pixels`` and does more than move them: an ONNX model that gives the same bits.

        Parameters
        ----------
        values : dict of str to ir.Value
            Of the graph.
        """
        return None

    @property
    def joins(self) -> list[tuple[str, ir.Elements | None]]:
        """Of a result that is only its inputs one after another: each input, and the table that rescales it."""
        return []

    def joining(self, inputs: tuple[str, ...], tables: tuple[ir.Elements | None, ...]) -> ir.Node:
        """Of a concatenation: the node that joins others, which are the same channels."""
        raise TypeError(f"{self.node.name} is no concatenation")

    @property
    def sliced(self) -> tuple[str, int, int] | None:
        """Of a result that is channels [start, stop) of its input: (input, start, stop)."""
        return None

    @property
    def stacks(self) -> list[str]:
        """Of a result that is its inputs' rows one after another, unchanged: those inputs."""
        return []

    def can_write(self, offset: int, tn: int) -> bool:
        """Whether the result can be written from channel ``offset`` of another value's storage on."""
        return False

    @property
    def takes_table(self) -> bool:
        """Whether VECTOR can put a table behind the node on its way."""
        return False

    def keeps_order(self, element: ElementType) -> bool:
        """Of a convolution: whether the largest result is of the largest sum, with or without its bias."""
        return False

    def pool_of_sums(self, element: ElementType) -> ir.Pool | None:
        """The node, where it is a pooling that VECTOR can do on a convolution's sums, if that ``keeps_order``."""
        return None

    @property
    def groups(self) -> int:
        """Of a convolution: the groups that its channels are divided in."""
        return 1

    @property
    def folds(self) -> bool:
        """Of a convolution: whether kernel columns may share a pass."""
        return False

    def unfolded(self) -> ir.Node | None:
        """The node for an input whose channels are (n, ky, kx), what its window sees: 1x1. None where there is none."""
        return None

    def several(self, places: Sequence[tuple[int, int]], steps: tuple[int, int]) -> ir.Node | None:
        """Of a convolution: the node that makes several of its results at once, of every ``steps``-th pixel (y, x).

        Its channel ``p * channels + c`` is channel c of the pixel ``places[p]`` (y, x) from there. None where there is
        no such node.
        """
        return None

    def depthwise(self) -> ir.Node | None:
        """Of a convolution: the node that VECTOR runs in its place, where that can; None where it can't."""
        return None

    def beside(self, count: int) -> ir.Node | None:
        """Of a convolution: the node for so many images side by side in channels, each by itself, that pads no rows."""
        return None

    def padded(self, pads: tuple[int, int, int, int]) -> ir.Node:
        """Of a convolution: the node with other pads (top, left, bottom, right)."""
        raise TypeError(f"{self.node.name} is no convolution")

    def of_pairs(self, source: str, pairs: int, cols: int) -> ir.Node | None:
        """Of a convolution of stride 2: the node that takes its input in pairs, ``source``, so many in a row.

        ``cols``: of its result.
        """
        return None

    def resting(self, channels: slice, result: ir.Value) -> ir.Node | None:
        """Of a convolution: the node that gives the result's zero point in some channels, whatever it reads there.

        None where what it does with its sums leaves no sum for that.
        """
        return None

    @property
    def pieces(self) -> tuple[tuple[int, ...], int]:
        """Of the image in pieces: the first row of each, and how many rows all have."""
        return (), 0

    def channels_read(self, source: Placement, first: int, end: int) -> Placement:
        """Of an input: channels that channels [first, end) of the result are made of, and those between them."""
        return source.part(first, end - first)

    # -- operations at work ---------------------------------------------------------------------------------------

    def needs(self, op: Op, part: Part) -> list[Part]:
        """What each input must provide for a part of the output, which is not empty: the same channels."""
        shifts = [place.first_group - op.output.first_group for place in op.inputs]
        return [
            Part(part.group0 + shift, part.group1 + shift, *op.rows_of(place, part.row0, part.row1))
            for place, shift in zip(op.inputs, shifts, strict=True)
        ]

    def words_read(self, op: Op) -> int:
        """Words that VECTOR reads for one of the result: a pixel of the window, or of an operand, in each."""
        return math.prod(self.window.kernel) * len(op.inputs)

    def block_reads(self, op: Op, rows: int, cols: int) -> int:
        """Words that VECTOR reads, one a cycle, for so many rows and columns of results in one channel group."""
        return rows * cols * self.words_read(op)

    @property
    def loads(self) -> dict[str, int]:
        """Fields of VECTOR that say what a parameter block holds: lanes' parameters, a table behind them, or either."""
        return {"load_params": 1}


_SPECS: dict[type[ir.Node], type[OpSpec[Any]]] = {}


def register(kind: type[N]) -> Callable[[type[OpSpec[N]]], type[OpSpec[N]]]:
    """Class decorator: this is the specification of nodes of class ``kind``."""

    def add(spec: type[OpSpec[N]]) -> type[OpSpec[N]]:
        _SPECS[kind] = spec
        return spec

    return add


def spec_of(node: N) -> OpSpec[N]:
    """The specification of a node.

    Raises
    ------
    TypeError
        If nobody registered one for its class.
    """
    spec = _SPECS.get(type(node))
    if spec is None:
        raise TypeError(f"no operator is specified for {type(node).__name__} ({node.name})")
    return spec(node)


def apply(node: ir.Node, inputs: Sequence[Tensor], values: dict[str, ir.Value]) -> Tensor:
    """Compute one node.

    Parameters
    ----------
    node : ir.Node
    inputs : list of ndarray of elements, shape (B, C, H, W)
        In the order of ``node.inputs``.
    values : dict of str to ir.Value
        Of the graph: scales and zero points.

    Returns
    -------
    ndarray of elements, shape (B, C, H, W); reals where a Host node's output is a host value
    """
    return spec_of(node).compute(inputs, [values[name] for name in node.inputs], values[node.output])
