"""What is known of each tensor of the model, and the quantized graph in the making: what the operators work on."""

from dataclasses import replace
from itertools import count

import numpy as np
import onnx
from onnx import TensorProto

from superlip.graph import ir
from superlip.graph.errors import ModelError
from superlip.graph.onnx.functions import clip_range
from superlip.graph.onnx.onnxtools import attributes, constants, opset
from superlip.graph.onnx.views import View, first_impossible, layout_nodes

from .states import Params, Pending, Unsupported
from .tables import float_table
from .weights import real_constant

__all__ = ["Importer"]


class Importer:
    """State of one import: ``unsupported``, a list of (node, why), and ``verdicts``: (verdict, why) by node name."""

    def __init__(self, model, name, refused=None):
        self.model = model
        self.name = name
        self.opsets = opset(model)
        self.consts = constants(model.graph)
        self.views = {}
        self.floats = {}
        self.dq_consts = {}
        self.values = {}
        self.nodes = []
        self.notes = []
        self.verdicts = {}
        self.unsupported = []
        self.refused = refused or {}
        self.poisoned = {}
        self.producers = {o: n for n in model.graph.node for o in n.output if o}
        self.by_name = {n.name: n for n in model.graph.node}
        self._materialized = {}
        self._reinterpreted = {}
        self.output_shapes = {}

    def const(self, name):
        """Constant operand ``name``, or None."""
        return self.consts.get(name) if name else None

    def view(self, name):
        """View of a tensor, int8 or dequantized, or None."""
        if name in self.views:
            return self.views[name]
        found = self.floats.get(name)
        return found if isinstance(found, View) else None

    def params_of(self, view):
        """Quantization of a view."""
        value = self.values[view.value]
        return Params(np.float32(value.scale), value.zero_point, value.is_unsigned)

    def params(self, scale, zero_point, kind=np.uint8):
        """Params from a scale and zero point operand, by name; without a zero point it is 0 of the type ``kind``."""
        scale = self.const(scale)
        if scale is None or scale.size != 1:
            raise Unsupported("the scale of an activation must be one constant number")
        if scale.dtype != np.float32:
            raise Unsupported(f"the scale of an activation must be float32, not {scale.dtype}; export as float32")
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            raise Unsupported(f"the scale of an activation must be a positive number, not {scale.reshape(())}")
        zero = self.const(zero_point) if zero_point else np.zeros((), kind)
        if zero is None or zero.size != 1:
            raise Unsupported("the zero point of an activation must be one constant number")
        if zero.dtype not in (np.int8, np.uint8):
            raise Unsupported(f"activations must be int8 or uint8, not {zero.dtype}; quantize to one of the two")
        is_unsigned = zero.dtype == np.uint8
        return Params(np.float32(scale.reshape(())), int(zero.reshape(())) - 128 * is_unsigned, is_unsigned)

    def params_made(self, node):
        """Params that a QuantizeLinear gives its result: the type of its zero point, or the one it names."""
        zero_point = node.input[2] if len(node.input) > 2 else ""
        named = attributes(node).get("output_dtype", TensorProto.UNDEFINED)
        kind = np.int8 if named == TensorProto.INT8 else np.uint8
        params = self.params(node.input[1], zero_point, kind)
        if named and params.is_unsigned != (kind == np.uint8):
            raise Unsupported(f"output_dtype is {np.dtype(kind)} and the zero point is not: keep one type")
        return params

    def params_taken(self, node, is_unsigned):
        """Params that a DequantizeLinear gives its operand."""
        zero_point = node.input[2] if len(node.input) > 2 else ""
        return self.params(node.input[1], zero_point, np.uint8 if is_unsigned else np.int8)

    def clip_range(self, node):
        """(low, high), real numbers, of Relu or Clip."""
        constants = {i: real_constant(self, i) for i in node.input[1:] if i}
        found = clip_range(node, {name: value for name, value in constants.items() if value is not None})
        if found is None:
            raise Unsupported("the bounds of Clip must be constant numbers")
        return found

    def materialize(self, view):
        """Name of the value that holds a view's elements in the view's own shape."""
        if id(view) in self._materialized:
            return self._materialized[id(view)][0]
        source = self.values[view.value]
        current = view.value
        try:
            steps = layout_nodes(view, source.shape)
        except ModelError as error:
            raise Unsupported(str(error), first_impossible(view, source.shape)) from None
        for kind, arguments, shape in steps:
            output = self.unique(f"{view.value}/{kind.__name__.lower()}")
            name = self.unique_node(view.moves[-1] if view.moves else output)
            node = kind(name=name, inputs=(current,), output=output, onnx_names=view.moves, **arguments)
            current = self.add(node, shape, self.params_of(view))
        self._materialized[id(view)] = (current, view)
        return current

    def unique(self, name):
        """``name``, or a variant of it that no value has yet."""
        return _variant(name, self.values.keys() | {n.name for n in self.nodes})

    def add(self, node, shape, params, *, is_float=False):
        """Append a node and its result; the name of the result."""
        self.values[node.output] = ir.Value(
            node.output,
            tuple(int(s) for s in shape),
            float(params.scale),
            params.zero_point,
            params.is_unsigned,
            is_float,
        )
        self.nodes.append(node)
        return node.output

    def emit(self, kind, names, inputs, tensor, image, shape, params, /, **arguments):
        """Append a node for the model's tensor ``tensor``; the View of it in the model's shape ``shape``."""
        output = self.unique(tensor)
        name = self.unique_node(names[0] if names else output)
        node = kind(name=name, inputs=tuple(inputs), output=output, onnx_names=tuple(names), **arguments)
        self.add(node, image, params)
        return View(output, tuple(int(s) for s in shape))

    def unique_node(self, name):
        """``name``, or a variant of it that no node has yet."""
        return _variant(name, {n.name for n in self.nodes})

    def elementwise(self, view, nodes, operands, shape, result):
        """Pending function of one view: ``nodes`` in order, constant ``operands``, down to the tensor ``result``."""
        nodes = _of_one_tensor(nodes, operands)

        def finish(params, tensor, low, high, names):
            source = self.params_of(view)
            table = float_table(
                nodes,
                operands,
                ("superlip_x", source.scale, source.zero_point),
                (result, params.scale, params.zero_point),
                self.opsets,
            )
            return self.apply_table(view, np.clip(table, low, high), params, tensor, names)

        return Pending(finish, shape, tuple(n.name for n in nodes), chain=(view, tuple(nodes), operands))

    def apply_table(self, view, table, params, tensor, names):
        """A Table node on the value below a view; the movement stays on top of it."""
        value = self.values[view.value]
        result = self.emit(
            ir.Table, names, (value.name,), tensor if view.index is None else f"{tensor}/table", value.shape,
            value.shape, params, table=table,
        )  # fmt: skip
        fill = None if view.fill is None else int(table.view(np.int8)[np.int8(view.fill).view(np.uint8)])
        return replace(view, value=result.value, fill=fill)

    def requantize(self, view, params, tensor, names):
        """The view with another scale and zero point."""
        if self.params_of(view) == params:
            return view
        pending = self.elementwise(view, [], {}, view.shape, None)
        return pending.finish(params, tensor, -128, 127, names)

    def reinterpret(self, view, params, tensor, names):
        """The same bytes with another scale and zero point, for a reader that was told these."""
        if self.params_of(view) == params:
            return view
        if params.is_unsigned != self.params_of(view).is_unsigned:
            raise Unsupported("a zero point of another type than the tensor's")
        key = view.value, params
        if key not in self._reinterpreted:
            value, same = self.values[view.value], np.arange(256, dtype=np.uint8).view(np.int8)
            self._reinterpreted[key] = self.emit(
                ir.Table, names, (value.name,), f"{tensor}/read", value.shape, value.shape, params, table=same
            ).value
        return replace(view, value=self._reinterpreted[key])

    def done(self, node, verdict="accelerator", why=""):
        """Record what became of a node of the model."""
        self.verdicts.setdefault(node.name, (verdict, why))

    def why_not(self, name):
        """Why a tensor is no view."""
        producer = self.producers.get(name)
        if producer is None:
            return f"operand {name!r} is not quantized"
        return f"operand {name!r}, made by {producer.op_type} {producer.name!r}, is not quantized"


def _variant(name, used):
    """``name``, or the first of NAME.2, NAME.3, ... that is not in ``used``."""
    return name if name not in used else next(n for i in count(2) if (n := f"{name}.{i}") not in used)


def _of_one_tensor(nodes, operands):
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
