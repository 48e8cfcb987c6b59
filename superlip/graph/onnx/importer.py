"""From a quantized ONNX model, in QDQ or QOperator format or a mixture, to the quantized graph.

The importer walks the nodes once. For each tensor of the model it knows one of

* a constant,
* an int8 tensor: a ``View`` of a value of the quantized graph,
* a float tensor that is exactly such a tensor dequantized: a ``View`` too,
* a float tensor that an operator is about to give (``Pending``): the node of the quantized graph is made when
  QuantizeLinear says which scale and zero point its result has,
* a float tensor of which nothing is known: what the host has to compute.
"""

from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper

from superlip.graph import ir
from superlip.graph.errors import ModelError, node_line, one_line
from superlip.graph.session import open_session

from . import emit
from .importer_float import FLOAT_OPS, clip_range, real_constant
from .importer_qoperator import QOPERATOR_OPS
from .onnxtools import attributes, constant_value, constants, name_nodes, opset, small_model, static_shape
from .states import Params, Pending, Unsupported
from .tables import clamp_of, float_table
from .views import LAYOUT_OPS, View, first_impossible, image_shape, layout_nodes, move

__all__ = ["Importer", "import_model"]

HOST_OPS = frozenset(
    [
        "Softmax",
        "LogSoftmax",
        "Hardmax",
        "LRN",
        "LpNormalization",
        "MeanVarianceNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "QLinearSoftmax",
        "DequantizeLinear",
        "Cast",
    ]
)
"""Float operators that the host may compute between accelerated ones; behind the last of these it computes any."""


class Importer:
    """State of one import; ``run`` does it. ``unsupported`` is a list of (node, why), ``verdicts`` a dict of node
    name to (verdict, why)."""

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
        self._host_values = {}
        self.output_shapes = {}

    # ---- what the operators use

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

    def operand(self, name):
        """(value name, Value) of a tensor in the form (C, H, W), with the layout nodes that takes."""
        view = self.view(name)
        if view is None:
            raise Unsupported(self._why_not(name))
        value = self.materialize(view)
        return value, self.values[value]

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
        used = self.values.keys() | {n.name for n in self.nodes}
        if name not in used:
            return name
        return next(f"{name}.{i}" for i in range(2, len(used) + 3) if f"{name}.{i}" not in used)

    def add(self, node, shape, params, *, is_float=False):
        """Append a node and its result; the View of the result."""
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
        used = {n.name for n in self.nodes}
        return (
            name
            if name not in used
            else next(f"{name}.{i}" for i in range(2, len(used) + 3) if f"{name}.{i}" not in used)
        )

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

    # ---- the walk

    def run(self):
        """Import the model. Raises ModelError where the model as a whole is unusable."""
        graph = self.model.graph
        name_nodes(graph)
        self._take_input()
        for node in graph.node:
            try:
                self._node(node)
            except (Unsupported, ModelError) as error:
                self._blame(node, error)
        outputs = []
        for info in graph.output:
            if info.name in self.poisoned:
                continue
            try:
                outputs.append((info.name, self._output(info.name)))
            except Unsupported as error:
                producer = self.producers.get(info.name)
                if producer is None:
                    raise ModelError(f"output {info.name!r}: {error}") from None
                self._blame(producer, error)
        for node in graph.node:  # those in floating point that nobody came to ask for
            if node.name not in self.verdicts and any(i in self.poisoned for i in node.input):
                self._refuse(node, "")
        return outputs

    def _blame(self, node, error):
        """Refuse the node that an error names, or the one at work, which then needs the other's result."""
        culprit = self.by_name.get(getattr(error, "node", None), node)
        self._refuse(culprit, str(error))
        if culprit is not node:
            self.verdicts[node.name] = ("unsupported", f"needs the result of {culprit.name!r}")
            self.poisoned |= dict.fromkeys(node.output, culprit.name)

    def _refuse(self, node, why):
        if any(i in self.poisoned for i in node.input):
            first = next(self.poisoned[i] for i in node.input if i in self.poisoned)
            self.verdicts.setdefault(node.name, ("unsupported", f"needs the result of {first!r}"))
        else:
            first = node.name
            if all(node is not other for other, _ in self.unsupported):
                self.unsupported.append((node, why))
                self.verdicts[node.name] = ("unsupported", why)
        for output in node.output:
            self.poisoned[output] = first

    def _take_input(self):
        graph = self.model.graph
        initializers = {i.name for i in graph.initializer}
        inputs = [i for i in graph.input if i.name not in initializers]
        if len(inputs) != 1:
            raise ModelError(f"the model has {len(inputs)} inputs; one image input is supported")
        info = inputs[0]
        shape = static_shape(info)
        self.input, self.input_shape = info.name, shape
        kind = info.type.tensor_type.elem_type
        self.input_type = {TensorProto.INT8: "int8", TensorProto.UINT8: "uint8"}.get(kind, "float32")
        self.input_order = self._channels_first(info.name)
        self.value_input = None
        if kind in (TensorProto.INT8, TensorProto.UINT8):
            params = self._input_params(info.name, kind == TensorProto.UINT8)
            self._set_input(info.name, params)
            self.views[info.name] = self._input_view(info.name)
        elif kind != TensorProto.FLOAT:
            raise ModelError(f"input {info.name!r} must be float, int8 or uint8")
        else:
            self._look_through(info.name)

    def _look_through(self, name):
        """Quantize the input before the layout nodes and max poolings that come in front of its QuantizeLinear.

        Rounding is monotonic, so it makes no difference to what they move or select.
        """
        seen, tensors = set(), [name]
        found = None
        while tensors:
            tensor = tensors.pop()
            for node in self.model.graph.node:
                if tensor not in node.input or node.name in seen:
                    continue
                seen.add(node.name)
                if node.op_type == "QuantizeLinear" and tensor == name:
                    return
                if node.op_type == "QuantizeLinear":
                    found = found or node
                elif node.op_type in LAYOUT_OPS or node.op_type == "MaxPool":
                    tensors.extend(node.output)
        if found is not None:
            self._set_input(name, self.params_made(found))
            self.floats[name] = self._input_view(name)

    def _channels_first(self, name):
        """Axes of an input, without the batch, that are C, H, W: what every reader of it transposes it to; or ()."""
        readers, orders = [name], set()
        while readers:
            tensor = readers.pop()
            for node in self.model.graph.node:
                if tensor not in node.input:
                    continue
                if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                    readers.extend(node.output)
                else:
                    perm = attributes(node).get("perm", ()) if node.op_type == "Transpose" else ()
                    orders.add(tuple(p - 1 for p in perm[1:]) if perm and perm[0] == 0 else ())
        return orders.pop() if len(orders) == 1 else ()

    def _input_view(self, value):
        """View of the input's value in the model's own order of axes."""
        if not self.input_order:
            return View(value, self.input_shape)
        own = self.input_shape[1:]
        numbers = np.arange(np.prod(own)).reshape([own[a] for a in self.input_order])
        return View(value, self.input_shape, numbers.transpose(np.argsort(self.input_order))[None])

    def _set_input(self, name, params):
        own = self.input_shape[1:]
        shape = image_shape((1, *(own[a] for a in self.input_order or range(len(own)))))
        self.value_input = name
        self.values[name] = ir.Value(name, shape, float(params.scale), params.zero_point, params.is_unsigned)

    def _input_params(self, name, is_unsigned):
        """Scale and zero point that the first operator to name them gives to an integer input."""
        same = {name}
        for node in self.model.graph.node:
            if node.input and node.input[0] in same and (node.op_type in LAYOUT_OPS or node.op_type == "MaxPool"):
                same.update(node.output)
            if not node.op_type.startswith(("DequantizeLinear", "QLinear", "QGemm")):
                continue
            for operand, scale, zero in zip(node.input, node.input[1:], [*node.input[2:], ""], strict=False):
                if operand in same and self.const(scale) is not None:
                    return self.params(scale, zero, np.uint8 if is_unsigned else np.int8)
        return Params(np.float32(1), -128 if is_unsigned else 0, is_unsigned)

    def _node(self, node):
        op = node.op_type
        if node.name in self.refused:
            raise Unsupported(self.refused[node.name])
        if op == "Constant":
            self.consts[node.output[0]] = constant_value(node)
            return self.done(node, "folded", "constant")
        if all(i in self.consts for i in node.input if i) and op != "DequantizeLinear" and node.input:
            self._fold(node)
            return self.done(node, "folded", "constant")
        if any(i in self.poisoned for i in node.input):
            raise Unsupported("")
        if op == "DequantizeLinear":
            return self._dequantize(node)
        if op == "QuantizeLinear":
            return self._quantize(node)
        if op in QOPERATOR_OPS and node.input[0] not in self.floats and not self._is_float(node):
            QOPERATOR_OPS[op](self, node)
            return self.done(node)
        if op in LAYOUT_OPS and self.view(node.input[0]) is not None:
            return self._layout(node)
        if op in FLOAT_OPS:
            state = FLOAT_OPS[op](self, node)
            if state is not None:
                self.floats[node.output[0]] = state
                return self.done(node)
        return None  # known to the host only, if anybody asks for its result

    def _is_float(self, node):
        """Whether an operator that exists for float and int8 is used on floats here."""
        return node.op_type in FLOAT_OPS and not any(i in self.views for i in node.input)

    def _fold(self, node):
        model = small_model(
            [node], [], [o for o in node.output if o], {i: self.consts[i] for i in node.input if i},
            {"": 17} | self.opsets,
        )  # fmt: skip
        try:
            results = open_session(model).run(None, {})
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise Unsupported(node_line(error, node)) from None
        self.consts.update(zip([o for o in node.output if o], results, strict=True))

    def _dequantize(self, node):
        source, output = node.input[0], node.output[0]
        self.done(node, "folded", "scale and zero point")
        if source in self.consts:
            self.dq_consts[output] = self._quantized_constant(node)
            return
        view = self.views.get(source)
        if view is None:
            return  # of an operator that the host runs on integers, such as QLinearSoftmax
        params = self.params_taken(node, self.params_of(view).is_unsigned)
        self.floats[output] = self.reinterpret(view, params, output, (node.name,))

    def _quantized_constant(self, node):
        """(integers, scale, zero point or None, axis) of a constant that DequantizeLinear takes."""
        integers, scale = self.consts[node.input[0]], self.const(node.input[1])
        zero_point = node.input[2] if len(node.input) > 2 else ""
        zero, axis = self.const(zero_point), attributes(node).get("axis", 1)
        if scale is None or (zero_point and zero is None):
            raise Unsupported("the scale and zero point of a constant must be constants")
        if integers.dtype.kind not in "iu" and not integers.dtype.name.startswith(("int", "uint")):
            raise Unsupported(f"constants must be integers, not {integers.dtype}; quantize weights to int8")
        if scale.dtype != np.float32:
            raise Unsupported(f"the scale of a constant must be float32, not {scale.dtype}; export as float32")
        if scale.size > 1 and (scale.ndim != 1 or not -integers.ndim <= axis < integers.ndim):
            raise Unsupported(
                f"a scale of shape {scale.shape} along axis {axis} of {integers.shape}: one an index of it"
            )
        if scale.size > 1 and scale.size != integers.shape[axis]:
            raise Unsupported(f"{scale.size} scales along axis {axis} of {integers.shape}: one an index of it")
        return integers, scale, zero, axis

    def _quantize(self, node):
        source, output = node.input[0], node.output[0]
        params = self.params_made(node)
        self.done(node, "folded", "scale and zero point")
        if source == self.input and self.value_input is None:
            self._set_input(output, params)
            self.views[output] = self._input_view(output)
        elif source == self.input:
            first = self._input_view(self.value_input)
            self.views[output] = self.requantize(first, params, output, (node.name,))
            if self.params_of(first) != params:
                self.notes.append(f"input {source!r} is quantized twice; the second time from the first result")
        else:
            self.views[output] = self._quantized(source, params, output, node)

    def _quantized(self, source, params, output, node):
        """View of the float tensor ``source`` quantized as ``params``, for the model's tensor ``output``.

        Quantization is monotonic and element by element, so it may as well come before MaxPool, Relu and layout.
        """
        state = self.floats.get(source)
        if isinstance(state, View):
            return self.requantize(state, params, output, (node.name,))
        if isinstance(state, Pending):
            try:
                return state.finish(params, output, *params.bounds(state.clip), state.names)
            except (Unsupported, ModelError) as error:
                raise Unsupported(str(error), getattr(error, "node", None) or state.names[0]) from None
        producer = self.producers.get(source)
        if producer is None or source in self.consts:
            raise Unsupported(self._why_not(source))
        passes = producer.op_type in LAYOUT_OPS or producer.op_type in ("MaxPool", "Relu", "Clip")
        if not passes:
            return self._host(source, params, output)
        inner = self._quantized(producer.input[0], params, f"{producer.input[0]}/quantized", node)
        self.done(producer)
        if producer.op_type == "MaxPool":
            return emit.max_pool(self, producer, inner, attributes(producer))
        if producer.op_type in LAYOUT_OPS:
            return self._moved(producer, inner, is_int=False)[list(producer.output).index(source)]
        numbers = np.arange(256, dtype=np.uint8).view(np.int8)
        table = np.clip(numbers, *params.bounds(self.clip_range(producer)))
        return self.apply_table(inner, table, params, output, (producer.name,))

    def _layout(self, node):
        is_int = node.input[0] in self.views
        results = self._moved(node, self.view(node.input[0]), is_int=is_int)
        (self.views if is_int else self.floats).update(zip([o for o in node.output if o], results, strict=False))
        self.done(node)

    def _moved(self, node, view, *, is_int):
        """Results of a layout node on ``view``, an int8 tensor of the model or a dequantized one."""
        if node.op_type in ("Resize", "Upsample"):
            mode = attributes(node).get("mode", b"nearest")
            if mode != b"nearest":
                raise Unsupported(
                    f"mode={mode.decode()!r}: only 'nearest' moves elements; ConvTranspose or a Conv interpolate"
                )
        fill = self._pad_value(node, view, is_int) if node.op_type == "Pad" else None
        if fill is not None and view.fill not in (None, fill):  # a view knows one number for all that was added
            view = View(self.materialize(view), view.shape)
        missing = [i for i in node.input[1:] if i and i not in self.consts and i not in self.dq_consts]
        if missing:
            raise Unsupported(f"operand {missing[0]!r} must be a constant")
        consts = dict(self.consts)
        for name in node.input[1:]:
            if name in self.dq_consts:
                consts[name] = real_constant(self, name)
        return move(node, view, consts, self.opsets, fill)

    def _pad_value(self, node, view, is_int):
        """int8 of what Pad adds to a view."""
        params = self.params_of(view)
        name = node.input[2] if len(node.input) > 2 else ""
        number = real_constant(self, name) if name else np.array(attributes(node).get("value", 0.0))
        if number is None or number.size != 1:
            raise Unsupported("the padding value must be one constant number")
        if is_int:
            return int(number.reshape(())) - 128 * params.is_unsigned
        real = float(number.reshape(()))
        fill = params.bound(real)
        saturates = abs((fill - params.zero_point) * float(params.scale) - real) > params.scale
        users = {n.op_type for n in self.model.graph.node if node.output[0] in n.input}
        if saturates and not users <= {"MaxPool", "QuantizeLinear"}:
            raise Unsupported(f"the padding value {real} is outside of the range of the tensor that is padded")
        return fill

    # ---- the host

    def _why_not(self, name):
        producer = self.producers.get(name)
        if producer is None:
            return f"operand {name!r} is not quantized"
        return f"operand {name!r}, made by {producer.op_type} {producer.name!r}, is not quantized"

    def _host(self, tensor, params, output):
        """A Host node that gives ``tensor``: float where ``params`` is None, else quantized."""
        nodes, views, consts = self._slice_back(tensor)
        if params is not None:
            for node in nodes:
                self._check_between(node)
        reason = f"{', '.join(dict.fromkeys(n.op_type for n in nodes))} in floating point"
        for node in nodes:
            self.verdicts[node.name] = ("host", f"{node.op_type} runs in floating point on the host")
        inputs, graph_inputs, head, initializers = [], [], [], {}
        for position, (name, view) in enumerate(views.items()):
            raw = f"superlip_in{position}"
            is_int = name in self.views
            real = f"superlip_real{position}" if is_int else name
            value, made, constants = self._reals(view, raw, real, view.shape)
            graph_inputs.append((raw, TensorProto.INT8, [1, *value.shape]))
            initializers |= constants
            head += made
            if is_int:  # an operator of the model's own integer type
                kind = np.uint8 if value.is_unsigned else np.int8
                initializers[f"{raw}_own"] = np.array(value.zero_point + 128 * value.is_unsigned, kind)
                head.append(helper.make_node("QuantizeLinear", [real, f"{raw}_scale", f"{raw}_own"], [name]))
            inputs.append(value.name)
        if not inputs:
            raise Unsupported(f"{tensor!r} does not depend on the image")
        shape, dtype = self._host_shape(head, nodes, graph_inputs, initializers | consts, tensor)
        image = image_shape(shape)
        tail = []
        last = tensor
        if params is not None:
            initializers |= {
                "superlip_out_scale": np.float32(params.scale),
                "superlip_out_zero": np.int8(params.zero_point),
            }
            tail.append(
                helper.make_node(
                    "QuantizeLinear", [tensor, "superlip_out_scale", "superlip_out_zero"], ["superlip_quantized"]
                )
            )
            last = "superlip_quantized"
        initializers["superlip_out_shape"] = np.array([1, *image], np.int64)
        tail.append(helper.make_node("Reshape", [last, "superlip_out_shape"], ["superlip_out"]))
        model = small_model(
            [*head, *nodes, *tail], graph_inputs, ["superlip_out"], initializers | consts, {"": 17} | self.opsets
        )
        names = tuple(n.name for n in nodes)
        value = self.unique(output)
        node = ir.Host(
            name=self.unique_node(names[-1] if names else value), inputs=tuple(inputs), output=value,
            onnx_names=names, model=model, reason=reason,
        )  # fmt: skip
        self.add(node, image, params or Params(np.float32(1), 0), is_float=params is None)
        if dtype not in (np.float32, np.float64) and params is None:
            self.notes.append(f"output {tensor!r} is {dtype}")
        return View(value, tuple(shape))

    def _check_between(self, node):
        """Refuse a node that the host would run between accelerated operators and may not."""
        if node.op_type in HOST_OPS or node.op_type in LAYOUT_OPS or node.op_type == "Constant":
            return
        if isinstance(self.floats.get(node.output[0]), Pending):
            return  # it could run; who takes its result in floating point could not
        makers = [self.producers[i] for i in node.input if isinstance(self.floats.get(i), Pending)]
        why = "not supported between accelerated operators"
        if makers:
            why = (
                f"it takes the result of {makers[0].op_type} {makers[0].name!r} in floating point; "
                f"put QuantizeLinear and DequantizeLinear between the two"
            )
        elif node.op_type in FLOAT_OPS:
            why = "not supported between accelerated operators with operands of this kind"
        raise Unsupported(why, node.name)

    def _host_shape(self, head, nodes, graph_inputs, initializers, tensor):
        model = small_model([*head, *nodes], graph_inputs, [tensor], initializers, {"": 17} | self.opsets)
        try:
            feeds = {name: np.zeros(shape, np.int8) for name, _, shape in graph_inputs}
            result = open_session(model).run([tensor], feeds)[0]
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise Unsupported(f"ONNX Runtime cannot compute {tensor!r}: {one_line(error)}") from None
        return result.shape, result.dtype

    def _slice_back(self, tensor):
        """Nodes that make ``tensor`` from views and constants, in the model's order."""
        wanted, views, consts, stack = set(), {}, {}, [tensor]
        while stack:
            name = stack.pop()
            if not name or name in views or name in consts:
                continue
            view = self.view(name)
            if name in self.consts:
                consts[name] = self.consts[name]
            elif name in self.dq_consts:
                consts[name] = real_constant(self, name)
            elif view is not None:
                views[name] = view
            elif name in self.producers:
                producer = self.producers[name]
                if producer.op_type == "QuantizeLinear":
                    raise Unsupported(f"{name!r} is an integer tensor in the middle of float operators")
                if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in producer.attribute):
                    raise Unsupported(f"{producer.op_type} {producer.name!r} has a subgraph")
                wanted.add(producer.name)
                stack.extend(producer.input)
            elif name == self.input:
                raise Unsupported(f"the model's input {name!r} is used without being quantized")
            else:
                raise Unsupported(f"nothing gives {name!r}")
        return [n for n in self.model.graph.node if n.name in wanted], views, consts

    def _output(self, name):
        view = self.view(name)
        if view is None and name in self.poisoned:
            raise Unsupported(f"needs the result of {self.poisoned[name]!r}")
        if view is None:
            view = self._host(name, None, name)
        self.output_shapes[name] = tuple(view.shape)
        try:
            return self.materialize(view)
        except Unsupported:
            if name in self.views:
                raise
            return self._moved_by_host(view, name)

    def _reals(self, view, raw, real, shape):
        """ONNX nodes by which the host gets what a view stands for, moved by them where the accelerator can't.

        Returns
        -------
        (ir.Value, list of NodeProto from its int8 tensor ``raw`` to the float tensor ``real`` of ``shape``, constants)
        """
        try:
            value, index = self.values[self.materialize(view)], None
        except Unsupported:
            value, index = self.values[view.value], view.numbers().reshape(shape)
            self.verdicts |= dict.fromkeys(
                view.moves, ("host", "the accelerator does not write this order of elements")
            )
        constants = {
            f"{raw}_scale": np.float32(value.scale),
            f"{raw}_zero": np.int8(value.zero_point),
            f"{raw}_shape": np.array(shape if index is None else [-1], np.int64),
        }
        flat = real if index is None else f"{raw}_flat"
        nodes = [
            helper.make_node("DequantizeLinear", [raw, f"{raw}_scale", f"{raw}_zero"], [f"{raw}_image"]),
            helper.make_node("Reshape", [f"{raw}_image", f"{raw}_shape"], [flat]),
        ]
        if index is not None:  # -1 is the last one, what Pad added
            fill = ((view.fill or 0) - value.zero_point) * np.float32(value.scale)
            constants |= {f"{raw}_fill": np.array([fill], np.float32), f"{raw}_index": index}
            nodes += [
                helper.make_node("Concat", [flat, f"{raw}_fill"], [f"{raw}_numbers"], axis=0),
                helper.make_node("Gather", [f"{raw}_numbers", f"{raw}_index"], [real]),
            ]
        return value, nodes, constants

    def _moved_by_host(self, view, name):
        """Host node that gives a float output whose elements stand in an order that the accelerator does not write."""
        image = image_shape(view.shape)
        value, nodes, constants = self._reals(view, "image", "moved", (1, *image))
        model = small_model(nodes, [("image", TensorProto.INT8, [1, *value.shape])], ["moved"], constants, {"": 17})
        output = self.unique(name)
        why = "the order of an output's elements"
        self.verdicts |= dict.fromkeys(view.moves, ("host", f"it gives {why}"))
        node = ir.Host(
            name=self.unique_node(view.moves[-1]), inputs=(value.name,), output=output, onnx_names=view.moves,
            model=model, reason=why,
        )  # fmt: skip
        return self.add(node, image, Params(np.float32(1), 0), is_float=True)


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


def import_model(model, name, refused=None):
    """Import a quantized model.

    ``refused`` is a dict of node name to why it is refused beforehand.

    Returns
    -------
    (ir.Graph or None, Importer)
        None where nodes are unsupported: the importer's ``unsupported`` says which.
    """
    importer = Importer(model, name, refused)
    outputs = importer.run()
    if importer.unsupported:
        return None, importer
    if importer.value_input is None:
        raise ModelError(f"the model's input {importer.input!r} is never quantized: no layer would be accelerated")
    graph = ir.Graph(
        name=name,
        values=importer.values,
        nodes=importer.nodes,
        input=importer.value_input,
        outputs=[value for _, value in outputs],
        model=model.SerializeToString(),
        notes=list(importer.notes),
        onnx_input=importer.input,
        onnx_input_shape=importer.input_shape[1:],
        onnx_input_order=importer.input_order,
        onnx_input_type=importer.input_type,
        onnx_outputs=[tensor for tensor, _ in outputs],
        onnx_output_shapes=importer.output_shapes,
        integer_outputs=frozenset(tensor for tensor, _ in outputs if tensor in importer.views),
    )
    fuse_tables(graph)
    remove_unused(graph)
    if not any(isinstance(n, ir.Conv | ir.Pool | ir.Add | ir.Mul) for n in graph.nodes):
        raise ModelError(f"{name}: no convolution, dense layer, pooling or addition was found to accelerate")
    return graph, importer


def fuse_tables(graph):
    """Put element-wise tables into the node whose only consumer they are: a clip, or the table of a Conv."""
    uses = {}
    for node in graph.nodes:
        for name in node.inputs:
            uses[name] = uses.get(name, 0) + 1
    for name in graph.outputs:
        uses[name] = uses.get(name, 0) + 1
    makers = {n.output: i for i, n in enumerate(graph.nodes)}
    removed = set()
    for position, node in enumerate(graph.nodes):
        if not isinstance(node, ir.Table) or uses[node.inputs[0]] != 1 or node.inputs[0] not in makers:
            continue
        maker = graph.nodes[makers[node.inputs[0]]]
        fused = _fused(maker, node, graph.values)
        if fused is None:
            continue
        graph.nodes[makers[maker.output]] = fused
        makers[node.output] = makers[maker.output]
        removed.add(position)
        del graph.values[maker.output]
    graph.nodes[:] = [n for i, n in enumerate(graph.nodes) if i not in removed]


def _fused(maker, node, values):
    common = {"output": node.output, "onnx_names": maker.onnx_names + node.onnx_names}
    before, after = values[maker.output], values[node.output]
    clamp = clamp_of(node.table)
    is_plain = getattr(maker, "table", None) is None
    if (
        clamp is not None
        and isinstance(maker, ir.Conv | ir.Pool | ir.Add | ir.Mul)
        and is_plain
        and (before.scale, before.zero_point) == (after.scale, after.zero_point)
    ):
        low, high = (min(max(bound, maker.low), maker.high) for bound in clamp)
        return replace(maker, low=low, high=high, **common)
    if isinstance(maker, ir.Conv):
        if is_plain:
            return replace(maker, table=node.table, table_zero_point=before.zero_point, **common)
        return replace(maker, table=node.table[maker.table.view(np.uint8)], **common)
    if isinstance(maker, ir.Table):
        return replace(maker, table=node.table[maker.table.view(np.uint8)], **common)
    return None


def remove_unused(graph):
    """Drop nodes whose result nobody takes."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if node.output in needed:
            needed.update(node.inputs)
            kept.append(node)
    graph.nodes[:] = kept[::-1]
    for name in [n for n in graph.values if n not in needed and n != graph.input]:
        del graph.values[name]
