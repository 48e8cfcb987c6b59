"""What is known of each tensor of the model, and the quantized graph in the making: what the operators work on."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto

from superlip.element import INT8
from superlip.graph import ir
from superlip.graph.apart import Weights
from superlip.graph.errors import ModelError
from superlip.graph.onnx.functions import clip_range
from superlip.graph.onnx.onnxtools import attributes, constants, opset, tensor_type
from superlip.graph.onnx.views import View, first_impossible, last_move, layout_nodes, of_value

from .states import ByChannel, Hosted, ModelInput, Params, Pending, Unsupported
from .tables import float_table
from .weights import Quantized, real_constant

__all__ = ["Importer", "of_one_tensor"]


class Importer:
    """State of one import.

    ``unsupported`` is a list of (node, why), ``unhostable`` has the names of those among them that the host can't run
    either; ``verdicts`` is (verdict, why) by node name. ``hosted`` says why the host is to run a node that looks as if
    the accelerator could.
    """

    def __init__(
        self,
        model: ModelProto,
        name: str,
        refused: dict[str, str] | None = None,
        hosted: dict[str, str] | None = None,
        weights: Weights | None = None,
    ):
        self.model = model
        self.name = name
        self.element = INT8
        self.opsets = opset(model)
        self.inputs: dict[str, ModelInput] = {}
        self.consts = constants(model.graph, weights)
        self.views: dict[str, View] = {}
        self.floats: dict[str, View | Pending | ByChannel] = {}
        self.dq_consts: dict[str, Quantized] = {}
        self.values: dict[str, ir.Value] = {}
        self.nodes: list[ir.Node] = []
        self.notes: list[str] = []
        self.verdicts: dict[str, tuple[str, str]] = {}
        self.unsupported: list[tuple[NodeProto, str]] = []
        self.unhostable: set[str] = set()
        self.refused = refused or {}
        self.hosted = dict(hosted or {})
        self.hosted_values: dict[str, Hosted] = {}
        self.of_host: set[str] = set()  # values that the host makes
        self.poisoned: dict[str, str] = {}
        self.producers: dict[str, NodeProto] = {o: n for n in model.graph.node for o in n.output if o}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for taken in node.input:
                self.readers.setdefault(taken, []).append(node)
        self.by_name: dict[str, NodeProto] = {n.name: n for n in model.graph.node}
        self._materialized: dict[int, tuple[str, View]] = {}
        self._reinterpreted: dict[tuple[str, Params], str] = {}
        self.output_shapes: dict[str, tuple[int, ...]] = {}

    def const(self, name: str) -> NDArray | None:
        """Constant operand ``name``, or None."""
        return self.consts.get(name) if name else None

    def view(self, name: str) -> View | None:
        """View of a tensor, integer or dequantized, or None."""
        if name in self.views:
            return self.views[name]
        found = self.floats.get(name)
        return found if isinstance(found, View) else None

    def params_of(self, view: View) -> Params:
        """Quantization of a view."""
        return Params.of(self.values[view.value])

    def params(self, scale_name: str, zero_point: str, is_unsigned: bool = True, *, by_channel: bool = False) -> Params:
        """Params from a scale and zero point operand, by name; without a zero point it is 0, of a type that is told.

        ``by_channel``: there may be a scale for each channel, and zero points that are all the same.
        """
        scale = self.const(scale_name)
        zero = self.const(zero_point) if zero_point else np.zeros((), self.element.own_type(is_unsigned))
        if scale is None or zero is None or scale.ndim != 1 or scale.size == 1:
            return self.params_of_constants(scale, zero)
        if not by_channel:
            raise Unsupported(
                "the scale of an activation must be one constant number; what a convolution gives may have "
                "one a channel, the model's input may not"
            )
        if zero.size not in (1, scale.size) or (zero != zero.reshape(-1)[0]).any():
            raise Unsupported("zero points of an activation that differ by channel: words have one")
        self.params_of_constants(scale.min(), zero.reshape(-1)[0])
        return replace(self.params_of_constants(scale.max(), zero.reshape(-1)[0]), by_channel=tuple(scale))

    def params_of_constants(self, scale: NDArray | None, zero: NDArray | None) -> Params:
        """Params from a scale and a zero point, one number each."""
        if scale is None or scale.size != 1:
            raise Unsupported("the scale of an activation must be one constant number")
        if scale.dtype != np.float32:
            raise Unsupported(f"the scale of an activation must be float32, not {scale.dtype}; export as float32")
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise Unsupported(f"the scale of an activation must be a positive number, not {scale.reshape(())}")
        if zero is None or zero.size != 1:
            raise Unsupported("the zero point of an activation must be one constant number")
        if zero.dtype not in self.element.types:
            wanted = " or ".join(map(str, self.element.types))
            raise Unsupported(f"activations must be {wanted}, not {zero.dtype}; quantize to one of the two")
        is_unsigned = zero.dtype == self.element.unsigned
        own = int(zero.reshape(()))
        return Params(
            np.float32(scale.reshape(())), own - self.element.own_offset(is_unsigned), is_unsigned, self.element
        )

    def params_made(self, node: NodeProto, *, by_channel: bool = False) -> Params:
        """Params that a QuantizeLinear gives its result: the type of its zero point, or the one it names."""
        zero_point = node.input[2] if len(node.input) > 2 else ""
        named = attributes(node).get("output_dtype", TensorProto.UNDEFINED)
        is_unsigned = named != tensor_type(self.element.dtype)
        params = self.params(node.input[1], zero_point, is_unsigned, by_channel=by_channel)
        if named and params.is_unsigned != is_unsigned:
            kind = self.element.own_type(is_unsigned)
            raise Unsupported(f"output_dtype is {kind} and the zero point is not: keep one type")
        return params

    def params_taken(self, node: NodeProto, is_unsigned: bool) -> Params:
        """Params that a DequantizeLinear gives its operand; there may be a scale for each channel."""
        zero_point = node.input[2] if len(node.input) > 2 else ""
        return self.params(node.input[1], zero_point, is_unsigned, by_channel=True)

    def clip_range(self, node: NodeProto) -> tuple[float, float]:
        """(low, high), real numbers, of Relu or Clip."""
        constants = {i: real_constant(self, i) for i in node.input[1:] if i}
        found = clip_range(node, {name: value for name, value in constants.items() if value is not None})
        if found is None:
            raise Unsupported("the bounds of Clip must be constant numbers")
        return found

    def materialize(self, view: View) -> str:
        """Name of the value that holds a view's elements in the view's own shape."""
        if id(view) in self._materialized:
            return self._materialized[id(view)][0]
        source = self.values[view.value]
        current = view.value
        try:
            steps = layout_nodes(view, source.shape)
        except ModelError as error:
            last = last_move(view)
            if last is None or view.before is None:
                raise Unsupported(str(error), first_impossible(view, source.shape)) from None
            return self.materialize(replace(last, value=self.materialize(view.before)))
        for kind, arguments, shape in steps:
            output = self.unique(f"{view.value}/{kind.__name__.lower()}")
            name = self.unique_node(view.moves[-1] if view.moves else output)
            node = kind(name=name, inputs=(current,), output=output, onnx_names=view.moves, **arguments)
            current = self.add(node, shape, self.params_of(view))
        self._materialized[id(view)] = (current, view)
        return current

    def unique(self, name: str) -> str:
        """``name``, or a variant of it that no value has yet."""
        return _variant(name, self.values.keys() | {n.name for n in self.nodes})

    def add(self, node: ir.Node, shape: ir.Shape, params: Params, *, is_float: bool = False) -> str:
        """Append a node and its result; the name of the result."""
        c, h, w = map(int, shape)
        self.values[node.output] = ir.Value(
            node.output, (c, h, w), float(params.scale), params.zero_point, params.is_unsigned, is_float, params.element
        )
        self.nodes.append(node)
        return node.output

    def emit(
        self,
        kind: type[ir.Node],
        names: Sequence[str],
        inputs: Sequence[str],
        tensor: str,
        image: ir.Shape,
        shape: Sequence[int],
        params: Params,
        /,
        **arguments,
    ) -> View:
        """Append a node for the model's tensor ``tensor``; the View of it in the model's shape ``shape``.

        ``names`` are the model's nodes that it stands for, ``image`` is the shape of its value, ``arguments`` are the
        fields of its class ``kind``.
        """
        output = self.unique(tensor)
        name = self.unique_node(names[0] if names else output)
        node = kind(name=name, inputs=tuple(inputs), output=output, onnx_names=tuple(names), **arguments)
        self.add(node, image, params)
        return View(output, tuple(int(s) for s in shape))

    def unique_node(self, name: str) -> str:
        """``name``, or a variant of it that no node has yet."""
        return _variant(name, {n.name for n in self.nodes})

    def elementwise(
        self,
        view: View,
        nodes: Sequence[NodeProto],
        operands: dict[str, NDArray],
        shape: tuple[int, ...],
        result: str,
    ) -> Pending:
        """Pending function of one view: ``nodes`` in order, constant ``operands``, down to the tensor ``result``."""
        nodes = of_one_tensor(nodes, operands)

        def finish(params, tensor, low, high, names):
            table = float_table(nodes, operands, ("superlip_x", self.params_of(view)), (result, params), self.opsets)
            return self.apply_table(view, np.clip(table, low, high), params, tensor, names)

        return Pending(finish, shape, tuple(n.name for n in nodes), chain=(view, tuple(nodes), operands))

    def apply_table(self, view: View, table: NDArray, params: Params, tensor: str, names: Sequence[str]) -> View:
        """A Table node on the value below a view; the movement stays on top of it."""
        value = self.values[view.value]
        result = self.emit(
            ir.Table, names, (value.name,), tensor if view.index is None else f"{tensor}/table", value.shape,
            value.shape, params, table=table,
        )  # fmt: skip
        fill = None if view.fill is None else int(self.element.look_up(table, self.element.dtype.type(view.fill)))
        return of_value(view, result.value, fill)

    def requantize(self, view: View, params: Params, tensor: str, names: Sequence[str]) -> View:
        """The view with another scale and zero point."""
        if self.params_of(view) == params:
            return view
        pending = self.elementwise(view, [], {}, view.shape, "")
        return pending.finish(params, tensor, *self.element.bounds, names)

    def reinterpret(self, view: View, params: Params, tensor: str, names: Sequence[str]) -> View:
        """The same bytes with another scale and zero point, for a reader that was told these."""
        if self.params_of(view) == params:
            return view
        if params.is_unsigned != self.params_of(view).is_unsigned:
            raise Unsupported("a zero point of another type than the tensor's")
        key = view.value, params
        if key not in self._reinterpreted:
            value, same = self.values[view.value], self.element.by_pattern()
            self._reinterpreted[key] = self.emit(
                ir.Table, names, (value.name,), f"{tensor}/read", value.shape, value.shape, params, table=same
            ).value
        return of_value(view, self._reinterpreted[key], view.fill)

    def done(self, node: NodeProto, verdict: str = "accelerator", why: str = "") -> None:
        """Record what became of a node of the model."""
        self.verdicts.setdefault(node.name, (verdict, why))

    def why_not(self, name: str) -> str:
        """Why a tensor is no view."""
        producer = self.producers.get(name)
        if producer is None:
            return f"operand {name!r} is not quantized"
        return f"operand {name!r}, made by {producer.op_type} {producer.name!r}, is not quantized"


def _variant(name, used):
    """``name``, or the first of NAME.2, NAME.3, ... that is not in ``used``."""
    return name if name not in used else next(n for i in count(2) if (n := f"{name}.{i}") not in used)


def of_one_tensor(nodes, operands):
    """Copies of nodes that take ``superlip_x`` where they took a tensor that is neither theirs nor among ``operands``.

    A tensor may have several names: each DequantizeLinear of one gives it another.
    """
    made = {o for n in nodes for o in n.output}
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.input[:] = [i if not i or i in made or i in operands else "superlip_x" for i in node.input]
        copies.append(copy)
    return copies
