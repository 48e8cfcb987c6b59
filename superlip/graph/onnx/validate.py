"""What a model must be before anything is computed from it.

Every fault is a ModelError that names the node or the constant. Sizes are computed from shapes alone, with Python's
integers, before anything of that size is made: a model of a few bytes may ask for more memory than there is.
"""

import bisect
import graphlib
import math
import signal
import subprocess
import sys

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from superlip.graph.errors import ModelError, one_line
from superlip.graph.session import open_session

from .batch import set_batch
from .input_shape import open_axes, shapes_text
from .onnxtools import static_shape

__all__ = ["LARGEST_TENSOR", "check_tensors", "validate", "why_it_does_not_run"]

LARGEST_TENSOR = 1 << 28
"""Elements of the largest tensor that is accepted: 1 GiB in float32."""

LARGEST_SUM = 1 << 29
"""Elements of all tensors that are made of one image: 2 GiB in float32, when their ranges are measured."""

_SMALL = 1024
"""Constants up to this many elements may be shapes, axes or scales, which decide over the shapes of others."""

_DYNAMIC = frozenset(
    ["DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"]
)
_WINDOWS = {
    "Conv": 1, "ConvTranspose": 1, "QLinearConv": 3, "MaxPool": None, "AveragePool": None, "LpPool": None,
    "QLinearAveragePool": None,
}  # fmt: skip
"""Operators with a sliding window, and the operand that holds the weights."""
_SCALES = {
    "QuantizeLinear": [(1, 2)],
    "DequantizeLinear": [(1, 2)],
    "QLinearConv": [(1, 2), (4, 5), (6, 7)],
    "QLinearMatMul": [(1, 2), (4, 5), (6, 7)],
    "QLinearAdd": [(1, 2), (4, 5), (6, 7)],
    "QLinearMul": [(1, 2), (4, 5), (6, 7)],
    "QGemm": [(1, 2), (4, 5), (7, 8)],
    "QLinearSigmoid": [(1, 2), (3, 4)],
    "QLinearLeakyRelu": [(1, 2), (3, 4)],
    "QLinearSoftmax": [(1, 2), (3, 4)],
    "QLinearAveragePool": [(1, 2), (3, 4)],
    "QLinearGlobalAveragePool": [(1, 2), (3, 4)],
    "QLinearReduceMean": [(1, 2), (3, 4)],
}
"""Positions of (scale, zero point) among the operands; QLinearConcat has any number of them."""
_UNBOUNDED = frozenset(["Clip", "Min", "Max", "Where"])
"""Operators to which an infinite constant means that there is no bound."""


def check_tensors(model):
    """Refuse constants whose shape, type and data don't agree, and what is no tensor; sparse constants become dense.

    Raises
    ------
    ModelError
    """
    if any(isinstance(text, bytes) for text in _texts(model)):  # protobuf gives text that is none as bytes
        raise ModelError("the model has names that are no UTF-8 text: the file is damaged")
    for entry in model.opset_import:
        if not 0 < entry.version < 1 << 31:
            raise ModelError(f"opset {entry.version} of the domain {entry.domain!r} is none")
    for where, tensor in _tensors(model):
        _check_tensor(tensor, where)
    _make_dense(model.graph)
    _shape_zero_points(model.graph)
    _check_kinds(model.graph)


def validate(model, name, refused=()):
    """Refuse a model that is none, or that no machine can hold; put its nodes in order.

    In place: nodes come behind those whose results they take, the batch becomes 1, and value infos go.

    Parameters
    ----------
    model : ModelProto
        ``check_tensors`` has seen it, and its nodes have names.
    name : str
        Of the model, for messages that are about all of it.
    refused : container of str
        Names of nodes that are known not to be supported: they are not looked at.

    Raises
    ------
    ModelError
    """
    _sort(model.graph, name)
    del model.graph.value_info[:]  # what follows from the rest, unless it is wrong
    _take_image(model, name)
    light = _skeleton(model)
    shapes = _inferred(light)
    _check_sizes(light, shapes)
    constants = _constants(model.graph)
    for node in model.graph.node:
        if node.name not in refused:
            _check_node(node, constants, shapes)
    if not refused and not any(map(_may_abort, model.graph.node)):
        _check_sizes(light, shapes | _with_runtime(light, name))


def why_it_does_not_run(model):
    """What ONNX Runtime says of a model when it is to run one black image; None where it runs.

    In a process of its own: a damaged model may end it.

    Parameters
    ----------
    model : bytes
        Serialized, as given.
    """
    command = [sys.executable, "-c", f"from {__name__} import _run_one_image; _run_one_image()"]
    done = subprocess.run(command, input=model, capture_output=True, check=False)
    if done.returncode < 0:
        return f"it ends with {signal.Signals(-done.returncode).name}"
    return done.stdout.decode() or None


def _run_one_image():
    """Run the model on standard input, and print why it does not run."""
    model = sys.stdin.buffer.read()
    try:
        known = {tensor.name for tensor in onnx.load_from_string(model).graph.initializer}
        session = open_session(model, is_optimized=False)
        infos = [info for info in session.get_inputs() if info.name not in known]
        session.run(None, {info.name: np.zeros(_sizes(info), _NUMPY.get(info.type, np.float32)) for info in infos})
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        print(one_line(error), end="")


def _sizes(info):
    return [size if isinstance(size, int) else 1 for size in info.shape]


_NUMPY = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def _label(node):
    return f"{node.op_type} {(node.name or ', '.join(node.output))!r}"


def _texts(model):
    """Names of all kinds."""
    graph = model.graph
    yield from (graph.name, *(o.domain for o in model.opset_import))
    yield from (thing.name for thing in (*graph.input, *graph.output, *graph.initializer, *graph.value_info))
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output)
    for node in (*graph.node, *(node for function in model.functions for node in function.node)):
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute))


# -- tensors -------------------------------------------------------------------------------------------------


def _tensors(model):
    """(what it is, TensorProto) of every tensor in the file."""
    graph = model.graph
    for tensor in graph.initializer:
        yield f"constant {tensor.name!r}", tensor
    for sparse in graph.sparse_initializer:
        yield f"sparse constant {sparse.values.name!r}", sparse.values
        yield f"indices of the sparse constant {sparse.values.name!r}", sparse.indices
    for node in (*graph.node, *(node for function in model.functions for node in function.node)):
        for attribute in node.attribute:
            tensors = [attribute.t] if attribute.HasField("t") else []
            for tensor in (*tensors, *attribute.tensors):
                yield f"{_label(node)}: its attribute {attribute.name!r}", tensor


_ELEMENTS = {  # field of the values that are not in raw_data, values for one element
    TensorProto.FLOAT: ("float_data", 1), TensorProto.COMPLEX64: ("float_data", 2),
    TensorProto.DOUBLE: ("double_data", 1), TensorProto.COMPLEX128: ("double_data", 2),
    TensorProto.UINT32: ("uint64_data", 1), TensorProto.UINT64: ("uint64_data", 1),
    TensorProto.INT64: ("int64_data", 1), TensorProto.STRING: ("string_data", 1),
}  # fmt: skip
_HALF_BYTES = (TensorProto.UINT4, TensorProto.INT4)


def _check_tensor(tensor, where):
    """Dimensions, type and the length of the data agree, and there is memory for it."""
    if tensor.data_type not in TensorProto.DataType.values() or tensor.data_type == TensorProto.UNDEFINED:
        raise ModelError(f"{where} has the type {tensor.data_type}, which ONNX does not know")
    kind = TensorProto.DataType.Name(tensor.data_type)
    shape = tuple(tensor.dims)
    if any(size < 0 for size in shape):
        raise ModelError(f"{where} has a negative dimension: {shape}")
    if tensor.data_type == TensorProto.STRING and tensor.HasField("raw_data"):
        raise ModelError(f"{where} is of type STRING and has raw data: text has none")
    if tensor.data_location == TensorProto.EXTERNAL and not tensor.HasField("raw_data"):
        raise ModelError(f"{where} has its data in another file that was not read: load the model from its file")
    count = math.prod(shape)
    field, factor = _ELEMENTS.get(tensor.data_type, ("int32_data", 1))
    if tensor.HasField("raw_data"):
        try:
            size = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).itemsize
        except (KeyError, TypeError):
            raise ModelError(f"{where} is of type {kind}, which is not supported") from None
        given, wanted, unit = len(tensor.raw_data), count * size, "bytes"
        if tensor.data_type in _HALF_BYTES:
            wanted = -(-count // 2)
    else:
        given, wanted, unit = len(getattr(tensor, field)), count * factor, "values"
        if tensor.data_type in _HALF_BYTES:
            wanted = -(-count // 2)
    if given != wanted:
        raise ModelError(f"{where} has shape {shape} of {kind.lower()}, {wanted:,} {unit}, but holds {given:,}")
    if count > LARGEST_TENSOR:
        raise ModelError(_too_large(where, shape))


def _too_large(what, shape):
    count = math.prod(size or 1 for size in shape)
    return (
        f"{what} has shape {shape}, {count:,} elements; at most {LARGEST_TENSOR:,} (1 GiB in float32) are supported in "
        f"one tensor"
    )


def _make_dense(graph):
    """Sparse constants as dense ones, in place."""
    for sparse in graph.sparse_initializer:
        name, shape = sparse.values.name, tuple(sparse.dims)
        if any(size < 0 for size in shape) or math.prod(shape) > LARGEST_TENSOR:
            raise ModelError(_too_large(f"sparse constant {name!r}", shape))
        values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
        dense = np.zeros(shape, values.dtype)
        try:
            at = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
            if (np.asarray(at) < 0).any():
                raise ValueError
            dense.reshape(-1)[at] = values
        except (ValueError, IndexError, TypeError):
            raise ModelError(f"sparse constant {name!r}: its indices don't fit its shape {shape} and values") from None
        graph.initializer.append(numpy_helper.from_array(dense, name))
    del graph.sparse_initializer[:]


def _shape_zero_points(graph):
    """Zero points in the shape of their scales, in place: ONNX Runtime takes another one, if it never looks at it."""
    found = _constant_tensors(graph)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and len(node.input) > 2:
            scale, zero = (found.get(name) for name in node.input[1:3])
            if scale is not None and zero is not None and math.prod(scale.dims) == math.prod(zero.dims):
                zero.dims[:] = scale.dims


def _constant_tensors(graph):
    """TensorProtos of constants by name."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return found


def _constants(graph):
    """Constants by name, as numpy arrays."""
    tensors = _constant_tensors(graph)
    found = {name: numpy_helper.to_array(t) for name, t in tensors.items() if t.data_type != TensorProto.STRING}
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            numbers = (a for a in node.attribute if a.name in ("value_float", "value_floats"))
            found.update((node.output[0], np.array(list(a.floats) or a.f, np.float32)) for a in numbers)
    return found


# -- the graph -----------------------------------------------------------------------------------------------


def _check_kinds(graph):
    """Only tensors, no control flow, nothing that is quantized while it runs."""
    for info in graph.input:
        if info.type.WhichOneof("value") not in ("tensor_type", None):
            raise ModelError(f"input {info.name!r} is no tensor: sequences, maps and optional values are not supported")
        if info.type.tensor_type.elem_type == TensorProto.STRING:
            raise ModelError(f"input {info.name!r} holds text: an image input holds numbers")
    for node in graph.node:
        if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) or a.HasField("g") for a in node.attribute):
            raise ModelError(f"{_label(node)} has a subgraph: control flow is not supported")
        if node.op_type in _DYNAMIC:
            raise ModelError(
                f"{_label(node)}: dynamic quantization, which measures each image anew, is not supported; give the "
                f"float model, or one from onnxruntime.quantization.quantize_static"
            )


def _sort(graph, name):
    """Nodes behind those whose results they take, in place; what is taken is given, and only once."""
    given = {tensor.name: "a constant" for tensor in graph.initializer} | {i.name: "an input" for i in graph.input}
    makers = {}
    for node in graph.node:
        for output in filter(None, node.output):
            if output in given or output in makers:
                first = _label(makers[output]) if output in makers else given[output]
                raise ModelError(f"{_label(node)} gives {output!r}, which {first} gives already")
            makers[output] = node
    for node in graph.node:
        missing = next((i for i in node.input if i and i not in makers and i not in given), None)
        if missing is not None:
            raise ModelError(f"{_label(node)} takes {missing!r}, which nothing gives")
    outputs = [o.name for o in graph.output]
    for output in outputs:
        if output not in makers and output not in given:
            raise ModelError(f"output {output!r} of {name} is given by nothing")
        if outputs.count(output) > 1:
            raise ModelError(f"{name} has the output {output!r} more than once")
    if _is_sorted(graph, makers):
        return
    before = {node.name: [makers[i].name for i in node.input if i in makers] for node in graph.node}
    try:
        order = list(graphlib.TopologicalSorter(before).static_order())
    except graphlib.CycleError as error:
        raise ModelError(f"nodes take each other's results in a circle: {' > '.join(error.args[1])}") from None
    nodes = {node.name: node for node in graph.node}
    ordered = [onnx.NodeProto.FromString(nodes[n].SerializeToString()) for n in order]
    del graph.node[:]
    graph.node.extend(ordered)


def _is_sorted(graph, makers):
    seen = set()
    for node in graph.node:
        if any(i in makers and i not in seen for i in node.input):
            return False
        seen.update(node.output)
    return True


def _take_image(model, name):
    """One input is the image, of a known size; its batch becomes 1, and inputs that are constants go, in place."""
    graph = model.graph
    initializers = {i.name for i in graph.initializer}
    images = [i for i in graph.input if i.name not in initializers]
    used = {i for n in graph.node for i in n.input}
    images = [i for i in images if i.name in used] or images
    if len(images) != 1:
        raise ModelError(f"{name} has {len(images)} inputs ({[i.name for i in images]}); one image input is supported")
    info = images[0]
    shape = static_shape(info)
    if shape is None or len(shape) not in (2, 3, 4):
        rank = "no shape" if shape is None else f"shape {shape}"
        raise ModelError(f"input {info.name!r} has {rank}; an image input is (N, C, H, W), (N, C, L) or (N, F)")
    if still_open := open_axes(info):
        axes = f"ax{'is' if len(still_open) == 1 else 'es'} {', '.join(map(str, still_open))}"
        example = ",".join(str(d.dim_value) if d.dim_value > 0 else "SIZE" for d in info.type.tensor_type.shape.dim[1:])
        raise ModelError(
            f"input {info.name!r} has no fixed size along {axes} (shape {shapes_text(info)}): sizes must be known when "
            f"the accelerator is planned; choose them with --input-shape {info.name}=1,{example} (input_shape= in "
            f"Python), or export the model with a fixed image size"
        )
    del graph.input[:]
    graph.input.append(info)
    model.ir_version = max(model.ir_version, 4)  # before 4 every initializer had to be an input too
    set_batch(model)


# -- sizes, and what ONNX Runtime says -----------------------------------------------------------------------


def _skeleton(model):
    """The model without large constants: they become inputs of the same shape."""
    graph = model.graph
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
    light.graph.name = graph.name or "model"
    light.graph.node.extend(graph.node)
    light.graph.input.extend(graph.input)
    light.graph.output.extend(graph.output)
    for tensor in graph.initializer:
        if math.prod(tensor.dims) <= _SMALL:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return light


def _inferred(light):
    """Shapes by tensor name, by ONNX's shape inference; entries that are no int are unknown."""
    try:
        graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except Exception:  # an inconsistent model: ONNX Runtime says what is wrong
        return {}
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return found | {
        i.name: static_shape(i) for i in (*graph.value_info, *graph.input, *graph.output) if static_shape(i)
    }


def _check_sizes(light, shapes):
    """No tensor of the image is too large, or empty."""
    producer = {output: _label(node) for node in light.graph.node for output in node.output}
    for name in (*(i.name for i in light.graph.input), *producer):
        shape = tuple(size for size in shapes.get(name, ()) if isinstance(size, int))
        what = f"{producer[name]}: its result {name!r}" if name in producer else f"input {name!r}"
        if any(size < 0 for size in shape):
            raise ModelError(f"{what} has a negative dimension: {shape}")
        if math.prod(size or 1 for size in shape) > LARGEST_TENSOR:  # 0 hides nothing: a product of parts may overflow
            raise ModelError(_too_large(what, shape))
    _check_sum(light, shapes)
    _check_empty(light, shapes)


def _check_sum(light, shapes):
    every = {name: shapes.get(name, ()) for node in light.graph.node for name in node.output}
    sizes = [math.prod(shape) for shape in every.values() if all(isinstance(size, int) for size in shape)]
    if sum(sizes) > LARGEST_SUM:
        raise ModelError(
            f"input {light.graph.input[0].name!r} of shape {shapes.get(light.graph.input[0].name)} makes results of "
            f"{sum(sizes):,} elements; at most {LARGEST_SUM:,} (2 GiB in float32) are supported: use smaller images"
        )


def _check_empty(light, shapes):
    depends = {info.name for info in light.graph.input} - {tensor.name for tensor in light.graph.initializer}
    for node in light.graph.node:
        if not depends.intersection(node.input):
            continue
        depends.update(node.output)
        for name in node.output:
            if 0 in shapes.get(name, ()):
                raise ModelError(f"{_label(node)}: its result {name!r} has no elements: shape {shapes[name]}")


def _with_runtime(light, name):
    """Shapes by tensor name, by ONNX Runtime, which has to accept the model; none where it lacks an operator."""
    try:
        session = _open(light, len(light.graph.node))
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        text = one_line(error)
        if any(part in str(error) for part in _NO_OPERATOR):
            return {}
        if not any(f"'{node.name}'" in text for node in light.graph.node):
            text = _culprit(light) + text
        raise ModelError(f"{name} is no valid ONNX model: {text}") from None
    return {output.name: tuple(output.shape) for output in session.get_outputs()}


def _open(light, count):
    """A session of the first ``count`` nodes; its outputs are all that they give, and those of the model."""
    probe = onnx.ModelProto()
    probe.CopyFrom(light)
    del probe.graph.node[count:]
    made = {o for node in probe.graph.node for o in node.output if o}
    kept = [output for output in light.graph.output if output.name in made or count == len(light.graph.node)]
    del probe.graph.output[:]
    probe.graph.output.extend(kept)
    known = {output.name for output in kept}
    probe.graph.output.extend(onnx.ValueInfoProto(name=o) for o in sorted(made - known))
    return open_session(probe.SerializeToString(), is_optimized=False)


def _culprit(light):
    """``label: `` of the node that ONNX Runtime refuses, where what comes before it is accepted; or nothing."""

    def is_refused(count):
        try:
            _open(light, count)
        except Exception:  # as above
            return True
        return False

    counts = range(1, len(light.graph.node) + 1)
    first = bisect.bisect_left(counts, True, key=is_refused)
    return f"{_label(light.graph.node[first])}: " if 0 < first < len(counts) else ""


def _may_abort(node):
    """Whether ONNX Runtime may end the process: its own quantized operators look for zero points that are not there."""
    last = max((zero for _, zero in _SCALES.get(node.op_type, ())), default=0)
    return node.domain == "com.microsoft" and ("" in node.input or len(node.input) <= last)


_NO_OPERATOR = ("NOT_IMPLEMENTED", "is not a registered function/op", "No opset import for domain")


# -- nodes ---------------------------------------------------------------------------------------------------


def _check_node(node, constants, shapes):
    if node.domain not in ("", "ai.onnx", "com.microsoft"):
        return
    if node.op_type in _WINDOWS:
        _check_window(node, shapes)
    pairs = _SCALES.get(node.op_type, [])
    if node.op_type == "QLinearConcat":
        pairs = [(0, 1), *((i, i + 1) for i in range(3, len(node.input), 3))]
    for scale, zero in pairs:
        _check_scale(node, constants, *(node.input[i] if i < len(node.input) else "" for i in (scale, zero)))
    for name in node.input:
        _check_numbers(node, name, constants.get(name))


def _check_window(node, shapes):
    """Attributes of a sliding window have its number of axes, and sizes that there can be."""
    given = {a.name: tuple(a.ints) for a in node.attribute if a.type == AttributeProto.INTS}
    at = _WINDOWS[node.op_type]
    weights = shapes.get(node.input[at], ()) if at is not None and at < len(node.input) else ()
    weights = weights if all(isinstance(size, int) for size in weights) else ()
    kernel = given.get("kernel_shape", weights[2:])
    if weights:
        group = next((a.i for a in node.attribute if a.name == "group" and a.type == AttributeProto.INT), 1)
        _check_weights(node, weights, kernel, group)
    for name, count in (("kernel_shape", 1), ("strides", 1), ("dilations", 1), ("pads", 2)):
        value = given.get(name, ())
        if value and kernel and len(value) != count * len(kernel):
            raise ModelError(
                f"{_label(node)}: {name}={list(value)} has {len(value)} numbers, a window of {len(kernel)} axes "
                f"takes {count * len(kernel)}"
            )
        least = 0 if name == "pads" else 1
        if any(number < least for number in value):
            raise ModelError(f"{_label(node)}: {name}={list(value)} must be numbers of at least {least}")


def _check_weights(node, shape, kernel, group):
    if 0 in shape:
        raise ModelError(f"{_label(node)}: its weights have no elements: shape {shape}")
    if shape[2:] != kernel:
        raise ModelError(f"{_label(node)}: kernel_shape={list(kernel)}, but its weights have shape {shape}")
    if group < 1 or (shape[0] % group and not node.op_type.endswith("Transpose")):
        raise ModelError(f"{_label(node)}: group={group} does not divide its {shape[0]} filters")


def _check_scale(node, constants, scale_name, zero_name):
    scale, zero = constants.get(scale_name), constants.get(zero_name)
    if scale is None:
        return
    if scale.dtype.kind != "f" or not scale.size:
        raise ModelError(
            f"{_label(node)}: scale {scale_name!r} must be floating point, not {scale.dtype} {scale.shape}"
        )
    bad = scale[~(np.isfinite(scale) & (scale > 0))]
    if bad.size:
        raise ModelError(
            f"{_label(node)}: scale {scale_name!r} holds {bad.reshape(-1)[0]}: scales must be positive numbers"
        )
    if zero is None:
        return
    if zero.dtype.kind in "fbc" or zero.size not in (1, scale.size):
        raise ModelError(
            f"{_label(node)}: zero point {zero_name!r} is {zero.dtype} of shape {zero.shape}; it must be integers, "
            f"as many as scale {scale_name!r} of shape {scale.shape} has"
        )


def _check_numbers(node, name, constant):
    if constant is None or constant.dtype.kind != "f" or np.isfinite(constant).all():
        return
    if np.isnan(constant).any() or node.op_type not in _UNBOUNDED:
        bad = constant[~np.isfinite(constant)].reshape(-1)
        raise ModelError(
            f"{_label(node)}: constant {name!r} holds {bad[0]} in {bad.size:,} of {constant.size:,} places: it must be "
            f"finite numbers"
        )
