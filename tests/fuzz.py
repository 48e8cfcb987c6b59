"""Damaged models and node files, each from one number, which superlip must answer with a result or one clear line.

``python tests/fuzz.py FIRST COUNT`` runs cases in this process, within a limit of memory and of time a case, and writes
a line of JSON before and after each. ``python tests/fuzz.py NUMBER`` runs one, leaves its input in the folder and shows
the traceback.
"""

import contextlib
import functools
import json
import logging
import math
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx_models import FloatNet
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from ort_quantizer import Images

from superlip import golden
from superlip.api import plan
from superlip.boards import TargetError, load_target
from superlip.compile.compiler import CompileError
from superlip.graph import ModelError, check, load
from superlip.ops.lowering import LoweringError
from superlip.plan.planner import PlanError

MEMORY_BYTES = 4 << 30
SECONDS = 60
USER_ERRORS = (ModelError, LoweringError, PlanError, CompileError, TargetError)
DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx"
NODE_FILE_SHARE = 10  # every so many cases one is a node file

NUMBERS = [-(2**63), -(2**31), -7, -1, 0, 1, 2, 3, 5, 16, 255, 256, 65_536, 2**31 - 1, 2**31, 2**40, 2**63 - 1]
REALS = [math.nan, math.inf, -math.inf, 0.0, -0.0, -1.0, 1e-45, 1e-38, 1e-9, 0.5, 1.0, 1e9, 3e38, 1e300]
OPERATORS = [
    "Relu", "Conv", "MaxPool", "Softmax", "Identity", "Gemm", "If", "ConvTranspose", "Cast", "Sigmoid", "Flatten",
    "LRN", "Transpose", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Clip", "Add", "Concat", "Shape",
    "Reshape", "Split", "QLinearConv", "QLinearAdd", "MatMul", "ReduceMean", "GlobalAveragePool", "Resize", "Pad",
    "NonZero", "Nothing",
]  # fmt: skip


# -- models to begin with ------------------------------------------------------------------------------------


def _plain():
    net = FloatNet((3, 8, 8))
    x = net.op("Relu", net.norm(net.conv("x", 8, 3, strides=[2, 1]), 8))
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.op("Add", x, net.conv(x, 8, 8))
    x = net.dense(net.op("Flatten", net.op("GlobalAveragePool", x)), 10, 8)
    return net, net.op("Softmax", x, axis=1)


def _branches():
    net = FloatNet((6, 6, 6))
    a = net.conv("x", 12, 6, groups=3)
    a = net.op("Mul", a, net.op("Sigmoid", a))
    x = net.op("Concat", a, net.conv(a, 6, 12, 1), axis=1)
    x = net.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, count_include_pad=1)
    x = net.op("Clip", x, net.const(0), net.const(6))
    return net, net.conv(x, 7, 18, dilations=[2, 2], pads=[2] * 4)


def _layout():
    net = FloatNet((4, 6, 6))
    x = net.conv("x", 8, 4)
    x = net.op("Resize", x, "", net.const([1, 1, 2, 2]), mode="nearest")
    x = net.op("Pad", x, net.const([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
    a, b = net.op("Split", net.conv(x, 8, 8, pads=[0] * 4), outputs=2, axis=1)
    x = net.op("LeakyRelu", net.op("Add", a, b), alpha=0.1)
    x = net.op("Reshape", net.op("Transpose", x, perm=[0, 2, 3, 1]), net.const([1, -1], np.int64))
    return net, net.op("MatMul", x, net.const(net.rng.normal(size=(576, 5)) / 24))


def _middle():
    net = FloatNet((3, 9, 7))
    x = net.op("LRN", net.op("Relu", net.conv("x", 8, 3)), size=5)
    x = net.op("HardSwish", net.conv(x, 8, 8))
    x = net.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    return net, net.dense(x, 4, 8)


@functools.cache
def bases():
    """Serialized models: float, QDQ and QOperator ones of each kind, with weights and with placeholders."""
    found = [DIGITS.read_bytes()]
    with tempfile.TemporaryDirectory() as folder:
        for make in (_plain, _branches, _layout, _middle):
            net, output = make()
            found.append(onnx.shape_inference.infer_shapes(net.model(output)).SerializeToString())
            for number, quant_format in enumerate((QuantFormat.QDQ, QuantFormat.QOperator)):
                path = Path(folder) / f"{make.__name__}{number}.onnx"
                model = net.model(output)  # the quantizer changes the one that it gets
                model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
                kind = QuantType.QInt8 if make in (_branches, _middle) else QuantType.QUInt8
                quantize_static(
                    model, str(path), Images("x", net.images(2)), quant_format=quant_format,
                    per_channel=make is not _layout, activation_type=kind, weight_type=QuantType.QInt8,
                )  # fmt: skip
                found.append(path.read_bytes())
    return found


# -- damage --------------------------------------------------------------------------------------------------


def _number(rng):
    return rng.choice(NUMBERS) if rng.random() < 0.6 else rng.randrange(-4, 40)


def _some(rng, things):
    return rng.choice(list(things)) if len(things) else None


def _attribute(rng, model):
    """One attribute of one node: another number, length, kind; gone, or there twice."""
    node = _some(rng, [n for n in model.graph.node if n.attribute])
    if node is None:
        return
    a = rng.choice(list(node.attribute))
    what = rng.randrange(8)
    if what == 0:
        node.attribute.remove(a)
    elif what == 1:
        node.attribute.append(a)
    elif what == 2:
        a.name = rng.choice(["pads", "strides", "dilations", "kernel_shape", "group", "axis", "perm", "auto_pad", "to"])
    elif what == 3:
        a.type = rng.choice(list(AttributeProto.AttributeType.values()))
    elif a.type == AttributeProto.INTS and what == 4:
        a.ints.append(_number(rng))
    elif a.type == AttributeProto.INTS and a.ints and what == 5:
        del a.ints[rng.randrange(len(a.ints)) :]
    elif a.type == AttributeProto.INTS and a.ints:
        a.ints[rng.randrange(len(a.ints))] = _number(rng)
    elif a.type == AttributeProto.INT:
        a.i = _number(rng)
    elif a.type == AttributeProto.FLOAT:
        a.f = float(np.float32(rng.choice(REALS[:-1])))
    elif a.type == AttributeProto.STRING:
        a.s = rng.choice([b"", b"SAME_UPPER", b"VALID", b"linear", b"reflect", b"\xff\xfe", b"CRD"])


def _new_attribute(rng, model):
    node = rng.choice(list(model.graph.node))
    name = rng.choice(["pads", "strides", "dilations", "kernel_shape", "group", "axis", "ceil_mode", "alpha", "mode"])
    value = rng.choice([_number(rng), [_number(rng) for _ in range(rng.randrange(1, 6))], 0.5, "SAME_LOWER"])
    node.attribute.append(helper.make_attribute(name, value))


def _shape_of_constant(rng, model):
    """Dimensions that do not agree with the data."""
    tensor = _some(rng, model.graph.initializer)
    if tensor is None:
        return
    what = rng.randrange(3)
    if what == 0 or not tensor.dims:
        tensor.dims.append(_number(rng))
    elif what == 1:
        tensor.dims.pop()
    else:
        tensor.dims[rng.randrange(len(tensor.dims))] = _number(rng)


def _bytes_of_constant(rng, model):
    tensor = _some(rng, [t for t in model.graph.initializer if t.raw_data])
    if tensor is None:
        return
    data = tensor.raw_data
    at = rng.randrange(len(data))
    tensor.raw_data = rng.choice([data[:at], data + b"\0\1", b"", data[:at] + rng.randbytes(4) + data[at + 4 :]])


def _values(rng, model):
    """Numbers of a constant: not finite, huge, none, negative, all equal."""
    tensor = _some(rng, model.graph.initializer)
    if tensor is None:
        return
    array = numpy_helper.to_array(tensor).copy()
    if not array.size:
        return
    with np.errstate(all="ignore"):
        if array.dtype.kind == "f":
            value = np.asarray(rng.choice(REALS)).astype(array.dtype)
        else:
            limits = np.iinfo(array.dtype)
            value = np.asarray(max(limits.min, min(limits.max, _number(rng))), array.dtype)
    if rng.random() < 0.5:
        array[...] = value
    else:
        array.reshape(-1)[rng.randrange(array.size)] = value
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _other_shape(rng, model):
    """A constant of another shape, with the data to it."""
    tensor = _some(rng, model.graph.initializer)
    if tensor is None:
        return
    array = numpy_helper.to_array(tensor)
    what = rng.randrange(6)
    if what == 0:
        array = array[..., None]
    elif what == 1:
        array = array.reshape(-1)
    elif what == 2 and array.ndim:
        array = np.concatenate([array, array], axis=rng.randrange(array.ndim))
    elif what == 3 and array.ndim:
        array = np.take(array, range(rng.randrange(array.shape[0] + 1)), axis=0)
    elif what == 4:
        array = array.T
    else:
        array = array[None]
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def _kind_of_constant(rng, model):
    tensor = _some(rng, model.graph.initializer)
    if tensor is None:
        return
    if rng.random() < 0.4:
        tensor.data_type = rng.randrange(-1, 25)
        return
    dtype = rng.choice([np.int8, np.uint8, np.int16, np.int32, np.int64, np.float16, np.float64, np.bool_])
    with np.errstate(all="ignore"):
        array = numpy_helper.to_array(tensor).astype(dtype)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _edge(rng, model):
    """An operand that is another tensor, none, or that nothing gives; or one too few, too many, in another order."""
    node = _some(rng, [n for n in model.graph.node if n.input])
    names = [n for other in model.graph.node for n in (*other.input, *other.output)]
    what = rng.randrange(6)
    at = rng.randrange(len(node.input))
    if what == 0:
        node.input[at] = rng.choice(names)
    elif what == 1:
        node.input[at] = ""
    elif what == 2:
        node.input[at] = "nowhere"
    elif what == 3:
        del node.input[at]
    elif what == 4:
        node.input.append(rng.choice(names))
    else:
        order = list(node.input)
        rng.shuffle(order)
        node.input[:] = order


def _result(rng, model):
    node = rng.choice(list(model.graph.node))
    names = [n for other in model.graph.node for n in (*other.input, *other.output)]
    what = rng.randrange(4)
    if what == 0 and node.output:
        node.output[0] = rng.choice(names)
    elif what == 1 and node.output:
        node.output[0] = ""
    elif what == 2:
        del node.output[:]
    else:
        node.output.append(rng.choice([*names, "extra"]))


def _nodes(rng, model):
    """Nodes dropped, doubled, moved, renamed, or of another operator."""
    nodes = list(model.graph.node)
    at = rng.randrange(len(nodes))
    what = rng.randrange(7)
    if what == 0:
        del nodes[at]
    elif what == 1:
        nodes.insert(rng.randrange(len(nodes) + 1), nodes[at])
    elif what == 2:
        nodes.insert(rng.randrange(len(nodes)), nodes.pop(at))
    elif what == 3:
        nodes[at].op_type = rng.choice(OPERATORS)
    elif what == 4:
        nodes[at].name = rng.choice(["", nodes[0].name, "[/x]", "[red]", "\x1b[31m", "a\nb", "x" * 300])
    elif what == 5:
        nodes[at].domain = rng.choice(["com.microsoft", "ai.onnx", "ai.vendor", ""])
    else:
        rng.shuffle(nodes)
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _insert(rng, model):
    """A node between two others, with operands at random: sizes that explode, or that are none."""
    node = _some(rng, [n for n in model.graph.node if n.input])
    at = rng.randrange(min(2, len(node.input)))
    op = rng.choice(
        ["Expand", "Tile", "ConstantOfShape", "Reshape", "Pad", "Resize", "Constant", "Cast", "Slice", "Gather",
         "Concat", "Split", "Unsqueeze", "Squeeze", "Identity", "Range", "Transpose", "Upsample", "Clip",
         "QuantizeLinear"]
    )  # fmt: skip
    source = node.input[at]
    numbers = np.array([_number(rng) for _ in range(rng.choice([1, 2, 4, 4, 8]))], np.int64)
    if rng.random() < 0.5:
        numbers = np.ones_like(numbers)
        numbers[rng.randrange(len(numbers))] = rng.choice(NUMBERS)
    operands = {"fuzz_a": numbers}
    inputs = [source, "fuzz_a"]
    if op == "ConstantOfShape":
        inputs = ["fuzz_a"]
    elif op == "Range":
        inputs = ["fuzz_a", "fuzz_b", "fuzz_c"]
        operands = {n: np.array(_number(rng), np.int64) for n in inputs}
    elif op in ("Resize", "Upsample"):
        inputs = [source, "", "fuzz_a"] if op == "Resize" else inputs
        operands["fuzz_a"] = numbers.astype(np.float32)
    elif op == "Slice":
        inputs = [source, "fuzz_a", "fuzz_b", "fuzz_c"]
        operands |= {n: np.array([_number(rng) for _ in numbers], np.int64) for n in inputs[2:]}
    elif op == "Clip":
        inputs = [source, "fuzz_a"]
        operands["fuzz_a"] = np.array(rng.choice(REALS), np.float32)
    elif op in ("Constant", "Identity", "Cast", "Transpose", "Split"):
        inputs, operands = ([] if op == "Constant" else [source]), {}
    elif op == "Concat":
        inputs, operands = [source, source], {}
    elif op == "QuantizeLinear":
        operands = {"fuzz_a": np.array(rng.choice(REALS), np.float32)}
    made = helper.make_node(op, inputs, ["fuzz_made"], name="fuzz_node")
    if op == "Constant":
        tensor = TensorProto(data_type=1, dims=[_number(rng)], raw_data=rng.randbytes(rng.choice([0, 4, 16])))
        made.attribute.append(helper.make_attribute("value", tensor))
    elif op in ("Cast", "Concat", "Split"):
        made.attribute.append(helper.make_attribute("to" if op == "Cast" else "axis", rng.randrange(-2, 14)))
    names = {t.name for t in model.graph.initializer}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(a), n) for n, a in operands.items() if n not in names
    )
    node.input[at] = "fuzz_made"
    position = next(i for i, n in enumerate(model.graph.node) if n == node)
    model.graph.node.insert(position, made)


def _image(rng, model):
    """The model's input: shape, type, name, number."""
    info = _some(rng, model.graph.input)
    if info is None:
        return
    tensor = info.type.tensor_type
    dims = tensor.shape.dim
    what = rng.randrange(7)
    if what == 0:
        tensor.elem_type = rng.randrange(0, 20)
    elif what == 1 and dims:
        del dims[-1]
    elif what == 2:
        dims.add().dim_value = _number(rng)
    elif what == 3 and dims:
        dims[rng.randrange(len(dims))].dim_param = "S"
    elif what == 4:
        model.graph.input.append(info)
        model.graph.input[-1].name = rng.choice(["y", info.name, ""])
    elif what == 5:
        info.type.sequence_type.elem_type.tensor_type.elem_type = 1
    elif dims:
        dims[rng.randrange(len(dims))].dim_value = _number(rng)


def _versions(rng, model):
    what = rng.randrange(4)
    if what == 0:
        model.ir_version = rng.choice([0, 1, 3, 4, 8, 10, 13, 99, 2**40])
    elif what == 1:
        del model.opset_import[:]
    elif model.opset_import:
        imported = rng.choice(list(model.opset_import))
        if what == 2:
            imported.version = rng.choice([-1, 0, 1, 6, 7, 9, 11, 12, 13, 18, 20, 23, 99, 2**40])
        else:
            imported.domain = rng.choice(["ai.onnx", "ai.vendor", ""])


def _outputs(rng, model):
    names = [o for n in model.graph.node for o in n.output]
    what = rng.randrange(4)
    if what == 0:
        del model.graph.output[:]
    elif what == 1:
        model.graph.output.append(onnx.ValueInfoProto(name=rng.choice([*names, "nowhere", ""])))
    elif what == 2 and model.graph.output:
        model.graph.output[0].name = rng.choice([*names, *(i.name for i in model.graph.input)])
    elif model.graph.output:
        model.graph.output.append(model.graph.output[0])


def _rare(rng, model):
    """Sparse and external tensors, subgraphs, value infos that are wrong."""
    what = rng.randrange(5)
    tensor = _some(rng, model.graph.initializer)
    if what == 0 and tensor is not None:
        sparse = model.graph.sparse_initializer.add()
        sparse.dims.extend(tensor.dims)
        array = numpy_helper.to_array(tensor).reshape(-1)
        count = min(3, len(array))
        sparse.values.CopyFrom(numpy_helper.from_array(array[:count], tensor.name))
        indices = rng.choice([np.arange(count), np.array([_number(rng)]), np.zeros((count, 2))]).astype(np.int64)
        sparse.indices.CopyFrom(numpy_helper.from_array(indices))
        model.graph.initializer.remove(tensor)
    elif what == 1 and tensor is not None:
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", rng.choice(["weights.bin", "../../etc/passwd", ""])
    elif what == 2:
        node = rng.choice(list(model.graph.node))
        node.attribute.append(helper.make_attribute("then_branch", model.graph))
    elif what == 3:
        name = rng.choice([o for n in model.graph.node for o in n.output] or ["a"])
        shape = [_number(rng) for _ in range(rng.randrange(5))]
        model.graph.value_info.append(helper.make_tensor_value_info(name, rng.choice([1, 2, 7]), shape))
    elif tensor is not None:
        tensor.float_data.extend([1.0] * rng.randrange(1, 5))


# -- changes after which a model may still be one --------------------------------------------------------------


def _near_number(rng, model):
    """A number of an attribute a little larger or smaller."""
    found = [a for n in model.graph.node for a in n.attribute if a.type in (AttributeProto.INT, AttributeProto.INTS)]
    a = _some(rng, found)
    if a is not None and a.type == AttributeProto.INT:
        a.i += rng.choice([-2, -1, 1, 2, 7])
    elif a is not None and a.ints:
        at = rng.randrange(len(a.ints))
        a.ints[at] += rng.choice([-1, 1, 1, 2, 5, 20])


UNARY = [
    "Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Abs", "Neg", "Identity", "Exp", "Softmax", "Floor", "Erf",
    "Elu", "GlobalAveragePool", "GlobalMaxPool", "Flatten", "Transpose", "LRN", "Dropout",
]  # fmt: skip


def _other_function(rng, model):
    node = _some(rng, [n for n in model.graph.node if n.op_type in UNARY or (len(n.input) == 1 and not n.attribute)])
    if node is not None:
        node.op_type = rng.choice(UNARY)
        del node.attribute[:]
        if node.op_type == "LRN":
            node.attribute.append(helper.make_attribute("size", rng.choice([1, 3, 5])))


def _more_function(rng, model):
    """A function, a window or a movement behind a tensor, for one of those that take it or for all."""
    node = _some(rng, [n for n in model.graph.node if n.input and n.op_type not in ("DequantizeLinear",)])
    kernel, strides = [rng.choice([1, 2, 3]) for _ in "yx"], [rng.choice([1, 1, 2]) for _ in "yx"]
    choices = [(op, {}) for op in UNARY if op != "LRN"] + [
        ("MaxPool", {"kernel_shape": kernel, "strides": strides, "ceil_mode": rng.randrange(2)}),
        ("AveragePool", {"kernel_shape": kernel, "strides": strides, "pads": [k // 2 for k in kernel * 2]}),
        ("LRN", {"size": 3}),
        ("Transpose", {"perm": rng.sample(range(4), 4)}),
        ("Concat", {"axis": rng.choice([1, 1, 2, 3, -1])}),
        ("Add", {}),
        ("Mul", {}),
    ]
    op, given = rng.choice(choices)
    source = node.input[0]
    count = 2 if op in ("Concat", "Add", "Mul") else 1
    made = helper.make_node(op, [source] * count, ["fuzz_more"], name="fuzz_more", **given)
    position = next(i for i, n in enumerate(model.graph.node) if n is node or n == node)
    node.input[0] = "fuzz_more"
    model.graph.node.insert(position, made)


def _near_values(rng, model):
    """Constants that are finite but far from the usual: large and small scales, zero points, weights."""
    tensor = _some(rng, model.graph.initializer)
    if tensor is None:
        return
    array = numpy_helper.to_array(tensor).copy()
    if array.dtype == np.float32:
        factor = rng.choice([1e-38, 1e-30, 1e-20, 1e-6, 0.01, 0.5, 2, 100, 1e6, 1e20, 1e30, 0, -1])
        with np.errstate(all="ignore"):
            array = (array * np.float32(factor)).astype(np.float32)
    elif array.dtype.kind in "iu" and array.size:
        limits = np.iinfo(array.dtype)
        array.reshape(-1)[rng.randrange(array.size)] = rng.choice([limits.min, limits.max, limits.max // 2, 0, 1])
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _near_image(rng, model):
    dims = model.graph.input[0].type.tensor_type.shape.dim
    if len(dims) > 1:
        dims[rng.randrange(len(dims))].dim_value = rng.choice([1, 2, 3, 4, 5, 9, 16, 31, 64])


def _more_outputs(rng, model):
    found = [o for n in model.graph.node for o in n.output if o not in {o.name for o in model.graph.output}]
    if found:
        model.graph.output.append(onnx.ValueInfoProto(name=rng.choice(found)))


def _another_operand(rng, model):
    """An operand that is the result of a node before it."""
    at = rng.randrange(1, len(model.graph.node)) if len(model.graph.node) > 1 else 0
    node = model.graph.node[at]
    earlier = [o for n in model.graph.node[:at] for o in n.output]
    if earlier and node.input:
        node.input[0 if rng.random() < 0.7 else rng.randrange(len(node.input))] = rng.choice(earlier)


DAMAGE = [
    _attribute, _attribute, _new_attribute, _shape_of_constant, _bytes_of_constant, _values, _values, _other_shape,
    _kind_of_constant, _edge, _result, _nodes, _nodes, _insert, _insert, _image, _versions, _outputs, _rare,
]  # fmt: skip
CHANGES = [
    _near_number, _near_number, _other_function, _more_function, _more_function, _near_values, _near_values,
    _near_image, _more_outputs, _another_operand,
]  # fmt: skip


def damaged_model(rng):
    """Bytes of a model file with one to three things wrong, or changed."""
    data = rng.choice(bases())
    model = onnx.ModelProto.FromString(data)
    damage = rng.choice([DAMAGE, CHANGES, CHANGES, DAMAGE + CHANGES])
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
        # what was damaged before may be past further damage of another kind
        with contextlib.suppress(ValueError, TypeError, OverflowError, IndexError, onnx.checker.ValidationError):
            rng.choice(damage)(rng, model)
    data = model.SerializeToString()
    if rng.random() < 0.04:
        changed = bytearray(data)
        for _ in range(rng.randrange(1, 6)):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        data = bytes(changed[: rng.choice([len(changed), rng.randrange(len(changed))])])
    return data


FIELDS = {
    "": ["preset", "clock_mhz", "clock_mhz", "max_boards", "name", "node"],
    "node": [
        "tm", "tn", "act_words", "act_banks", "weight_words", "weight_banks", "acc_words", "depthwise_rows",
        "axi_ports", "axi_outstanding", "axi_burst_beats", "link_bytes", "frame_words", "frame_slots",
        "watchdog_cycles", "nothing",
    ],
    "dram": ["bytes_per_cycle", "latency", "burst_overhead", "megabytes", "nothing"],
    "link": ["bytes_per_cycle", "latency", "nothing"],
    "resources": ["dsp", "bram36", "uram", "lut", "ff"],
}  # fmt: skip
WORDS = [
    "0", "1", "2", "3", "8", "16", "64", "100", "256", "1024", "4096", "65536", "1000000", "-1", "-8", "1.5",
    "8.0", "inf", "-inf", "nan", "1e-9", "1e300", "true", '"fast"', '"tiny"', '"zcu102"', "[]", "{}", "0x10",
    "9223372036854775807", "1979-05-27", "99999999999999999999",
]  # fmt: skip


def damaged_node_file(rng):
    """Text of a node file with some settings at random."""
    lines = []
    for table in rng.sample(list(FIELDS), rng.randrange(1, len(FIELDS))):
        fields = rng.sample(FIELDS[table], min(len(FIELDS[table]), rng.randrange(1, 4)))
        block = [f"{field} = {rng.choice(WORDS)}" for field in fields]
        lines = [*block, *lines] if not table else [*lines, f"[{table}]", *block]
    text = "\n".join(lines)
    if rng.random() < 0.1:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(["\0", "=", "[", '"', "\n", "é"]) + text[at + 1 :]
    return text


# -- one case ------------------------------------------------------------------------------------------------


@functools.cache
def _digits():
    return load(DIGITS, random_weights=0)


def _run_model(path, rng):
    way = rng.randrange(8)
    if way == 0:
        check(path)
        return
    graph = load(path, random_weights=0)
    plan(graph, boards=1 + way % 2, node="tiny")
    if way < 4:
        shape = graph.values[graph.input].shape
        golden.run(graph, np.random.default_rng(0).integers(-128, 128, (1, *shape)).astype(np.int8))


def _run_node_file(path, rng):
    target = load_target(path)
    if rng.random() < 0.6:
        plan(_digits(), boards=rng.choice([1, 2]), node=target)


def fault_of(text):
    """What is wrong with the text of an error that a user sees, or None."""
    if not text.strip():
        return "an empty text"
    for raw in ("[ONNXRuntimeError]", "Traceback", ".cc:", "\x1b", "onnxruntime_src", "site-packages", "==> Context"):
        if raw in text:
            return f"shows {raw!r}"
    if max(map(len, text.splitlines())) > 700:
        return "a very long line"
    if "\n" in text and "has unsupported nodes" not in text:
        return "more than one line"
    return None


def run_case(number, folder):
    """None, or what went wrong; the text of the user's error."""
    rng = random.Random(number)
    if number % NODE_FILE_SHARE == 0:
        path = Path(folder) / "case.toml"
        path.write_text(damaged_node_file(rng))
        work = _run_node_file
    else:
        path = Path(folder) / "case.onnx"
        path.write_bytes(damaged_model(rng))
        work = _run_model
    try:
        work(path, rng)
    except USER_ERRORS as error:
        fault = fault_of(str(error))
        return (f"{fault}: {error}" if fault else None), f"{type(error).__name__}: {error}"
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)
        ours = [f for f in where if "site-packages" not in f.filename][-1]
        place = f"{Path(ours.filename).name}:{ours.lineno} {ours.name}"
        return f"{type(error).__name__}: {str(error)[:300]} ({place})", traceback.format_exc()
    return None, "success"


def main(first, count):
    logging.disable()
    warnings.simplefilter("ignore")
    bases()
    _digits()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with tempfile.TemporaryDirectory(prefix="superlip-fuzz.") as folder:
        for number in range(first, first + count):
            print(json.dumps({"begin": number}), flush=True)
            signal.alarm(SECONDS)  # nobody handles it: it ends the process, also within C++
            started = time.monotonic()
            fault, text = run_case(number, folder)
            signal.alarm(0)
            seconds = round(time.monotonic() - started, 2)
            print(json.dumps({"end": number, "fault": fault, "text": text, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(*run_case(int(sys.argv[1]), "."), sep="\n")
    else:
        main(int(sys.argv[1]), int(sys.argv[2]))
