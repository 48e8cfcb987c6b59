"""Which attributes of which operators are read, and with which values.

A model says what it means in attributes; one that is not read is a network that computes something else. So every
attribute of every operator that superlip takes stands here, whatever the opset, and ``refusals`` names each node of a
model with another attribute, another value, or an operator that is none. The table is held against the schemas of ONNX
and ONNX Runtime by a test.

Operators that are not here are none of superlip's: ONNX Runtime may run them on the host, as their schema says.
"""

from dataclasses import dataclass

import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from superlip.element import INT8
from superlip.graph.apart import is_apart

from .onnxtools import attributes, constant_value, operator, opset, tensor_type

__all__ = ["ATTRIBUTES", "Rule", "refusals"]


@dataclass(frozen=True)
class Rule:
    """What becomes of an attribute.

    ``how`` says who reads it. ``allowed`` are its values, None for any; ``otherwise`` is what a user may do about
    another.
    """

    how: str
    allowed: tuple | None = None
    otherwise: str = ""


_READ = Rule("the importer reads it")
_MOVED = Rule("ONNX Runtime moves the element numbers with it")
_TABLE = Rule("ONNX Runtime computes the node's table with it")
_HOST = Rule("ONNX Runtime reads it on the host")
_NOTHING = Rule("it does not change the result")
_OLD = Rule("the conversion to a newer opset reads it")

_TRAIN = "export the model for inference"
_FOLDED_NORM = Rule("inference only", (0,), _TRAIN)
_BLOCKS = Rule("one scale for all or one a channel", (0,), "quantize with one scale a tensor or one an output channel")
_CHANNELS_FIRST = Rule("channels come first", (0,), "export with channels first (NCHW)")
_NUMBER = Rule("constants are dense tensors of numbers", (), "write it as one")
_WINDOW = {name: _READ for name in ("kernel_shape", "pads", "strides")} | {
    "auto_pad": Rule("the importer reads it", ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"))
}
_CONV = _WINDOW | {"dilations": _READ, "group": _READ}
_AVERAGE = _WINDOW | {"ceil_mode": _READ, "count_include_pad": _READ}
_REDUCTION = {"axes": _READ, "keepdims": _READ}
_BINARY = {
    "axis": Rule("operands are broadcast from their last axes on", (), "export with opset 7 or newer"),
    "broadcast": _OLD,
}
_FLOAT32 = Rule("results are float32", (TensorProto.UNDEFINED, TensorProto.FLOAT), "export the model as float32")
_ELEMENTS = (TensorProto.UNDEFINED, *map(tensor_type, INT8.types))
_ELEMENT_NAMES = " or ".join(map(str, INT8.types))

ATTRIBUTES = {
    "Conv": _CONV,
    "ConvTranspose": dict.fromkeys((*_CONV, "output_padding", "output_shape"), _READ),
    "Gemm": {"alpha": _READ, "beta": _READ, "transA": _READ, "transB": _READ, "broadcast": _OLD},
    "MatMul": {},
    "MaxPool": _WINDOW
    | {"ceil_mode": _READ, "dilations": _READ, "storage_order": Rule("it is about Indices, which are refused")},
    "AveragePool": _AVERAGE | {"dilations": _READ},
    "GlobalAveragePool": {},
    "GlobalMaxPool": {},
    **{op: _REDUCTION | {"noop_with_empty_axes": _READ} for op in ("ReduceMean", "ReduceSum", "ReduceMax")},
    "Concat": {"axis": _READ},
    "BatchNormalization": {
        "epsilon": _READ,
        "momentum": _NOTHING,
        "training_mode": _FOLDED_NORM,
        "spatial": Rule("one factor a channel", (1,), "export with a factor a channel"),
        "is_test": _OLD,
    },
    "Sum": {},
    # functions of one number
    **{
        op: {}
        for op in (
            "Relu", "HardSwish", "Sigmoid", "Tanh", "Softplus", "Softsign", "PRelu", "Erf", "Abs", "Neg", "Exp", "Log",
            "Sqrt", "Reciprocal", "Floor", "Ceil", "Round", "Sign", "Mish", "Sin", "Cos", "Min", "Max", "Where",
            "GreaterOrEqual", "LessOrEqual", "Not",
        )
    },
    "Clip": {"min": _READ, "max": _READ},
    "LeakyRelu": {"alpha": _TABLE},
    "HardSigmoid": {"alpha": _TABLE, "beta": _TABLE},
    "Elu": {"alpha": _TABLE},
    "Selu": {"alpha": _TABLE, "gamma": _TABLE},
    "Celu": {"alpha": _TABLE},
    "ThresholdedRelu": {"alpha": _TABLE},
    "Gelu": {"approximate": _TABLE},
    **{op: _BINARY for op in ("Add", "Sub", "Mul", "Div", "Pow", "Greater", "Less", "Equal", "And", "Or")},
    # movement of elements
    "Reshape": {"allowzero": _MOVED, "shape": _OLD},
    "Flatten": {"axis": _MOVED},
    "Squeeze": {"axes": _MOVED},
    "Unsqueeze": {"axes": _MOVED},
    "Transpose": {"perm": _MOVED},
    "Slice": {name: _MOVED for name in ("axes", "starts", "ends")},
    "Split": {name: _MOVED for name in ("axis", "split", "num_outputs")},
    "Gather": {"axis": _MOVED},
    "DepthToSpace": {"blocksize": _MOVED, "mode": _MOVED},
    "SpaceToDepth": {"blocksize": _MOVED, "mode": _MOVED},
    "Resize": {
        name: _MOVED
        for name in (
            "antialias", "axes", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside",
            "extrapolation_value", "keep_aspect_ratio_policy", "mode", "nearest_mode",
        )
    },
    "Upsample": {"mode": _MOVED, "scales": _MOVED, "height_scale": _OLD, "width_scale": _OLD},
    "Pad": {"mode": _MOVED, "pads": _MOVED, "value": _READ, "paddings": _OLD},
    "Identity": {},
    "Dropout": {"ratio": _NOTHING, "seed": _NOTHING, "is_test": _OLD},
    "Expand": {},
    "Tile": {},
    # constants
    "Constant": {name: _READ for name in ("value", "value_float", "value_floats", "value_int", "value_ints")}
    | {name: _NUMBER for name in ("sparse_value", "value_string", "value_strings")},
    "ConstantOfShape": {"value": _READ},
    "Shape": {"start": _READ, "end": _READ},
    # quantization
    "QuantizeLinear": {
        "axis": _READ,
        "block_size": _BLOCKS,
        "output_dtype": Rule(f"activations must be {_ELEMENT_NAMES}", _ELEMENTS, f"quantize to {_ELEMENT_NAMES}"),
        "precision": _FLOAT32,
        "saturate": Rule("it is about float8, which is refused"),
    },
    "DequantizeLinear": {"axis": _READ, "block_size": _BLOCKS, "output_dtype": _FLOAT32},
    "QLinearConv": _CONV,
    "QLinearMatMul": {},
    # ONNX Runtime's own
    "com.microsoft::QuantizeLinear": {"axis": _READ},
    "com.microsoft::DequantizeLinear": {"axis": _READ},
    "com.microsoft::Gelu": {},
    "com.microsoft::QLinearConv": _CONV | {"channels_last": _CHANNELS_FIRST},
    "com.microsoft::QGemm": {"alpha": _READ, "transA": _READ, "transB": _READ},
    "com.microsoft::QLinearAveragePool": _AVERAGE | {"channels_last": _CHANNELS_FIRST},
    "com.microsoft::QLinearGlobalAveragePool": {"channels_last": _CHANNELS_FIRST},
    "com.microsoft::QLinearReduceMean": _REDUCTION,
    "com.microsoft::QLinearConcat": {"axis": _READ},
    "com.microsoft::QLinearSigmoid": {},
    "com.microsoft::QLinearLeakyRelu": {"alpha": _TABLE},
    "com.microsoft::QLinearSoftmax": {"axis": _HOST, "opset": _HOST},
    "com.microsoft::QLinearAdd": {},
    "com.microsoft::QLinearMul": {},
}  # fmt: skip
"""Attributes by operator, ``domain::operator`` outside of ONNX's own domain, over all opsets from 7 on."""


def refusals(model: ModelProto) -> dict[str, str]:
    """Nodes that say something that superlip does not read.

    Parameters
    ----------
    model : ModelProto
        As the user gave it, nodes named.

    Returns
    -------
    dict of node name to why
    """
    opsets = opset(model)
    found = {}
    for node in model.graph.node:
        why = _no_operator(node) or _unread(node, opsets) or _trains(node, model.graph, opsets)
        if why:
            found[node.name] = why
    return found


_OPTIMIZED = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
"""Domains of operators that only ONNX Runtime's optimizer writes."""


def _no_operator(node):
    """Why a node is no operator of ONNX or ONNX Runtime, or None."""
    name = operator(node)
    if name in ATTRIBUTES:
        return None
    if node.domain in _OPTIMIZED or (node.domain == "com.microsoft" and node.op_type.startswith(("Fused", "Nhwc"))):
        return "ONNX Runtime's optimizer wrote this operator; give the model as exported, before it is optimized"
    if node.domain == "com.microsoft" and node.op_type not in ATTRIBUTES:
        return None  # the host's, if ONNX Runtime can run it
    if onnx.defs.has(node.op_type, node.domain) and (not node.domain or node.op_type not in ATTRIBUTES):
        return None
    return (
        "no operator that superlip or ONNX Runtime knows; write it with operators of ONNX, "
        "or as a local function of the model"
    )


def _unread(node, opsets):
    """Which attribute of a node is not read, or None."""
    name = operator(node)
    rules = ATTRIBUTES.get(name)
    schema = _schema(node, opsets)
    given = {attribute: _text(value) for attribute, value in attributes(node).items()}
    for attribute, value in given.items():
        if (schema is not None and attribute not in schema) or (rules is not None and attribute not in rules):
            return f"attribute {attribute!r} (value {_short(value)}) is not known for this operator; remove it"
        if value is None:
            return f"attribute {attribute!r} has no type; remove it, or export the model again"
        rule = rules[attribute] if rules is not None else _HOST
        if rule.allowed is not None and value not in rule.allowed:
            return f"{attribute}={_short(value)}: {rule.how}{_type_name(attribute, value)}; {rule.otherwise}"
    return None


def _schema(node, opsets):
    """Names of the attributes of a node's operator in its opset; None where ONNX has no schema."""
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets.get(node.domain, 1), node.domain)
    except onnx.defs.SchemaError:
        return None
    return schema.attributes.keys()


def _text(value):
    """An attribute's value with str for bytes."""
    if isinstance(value, list):
        return [_text(v) for v in value]
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _short(value):
    if isinstance(value, int | float | str):
        return repr(value)
    return f"of type {type(value).__name__}" if not isinstance(value, list | tuple) else str(list(value))[:60]


def _type_name(attribute, value):
    """ ", not int16" behind what an attribute that holds a tensor type says."""
    if attribute not in ("output_dtype", "precision") or value not in TensorProto.DataType.values():
        return ""
    return f", not {TensorProto.DataType.Name(value).lower()}"


def _trains(node, graph, opsets):
    """Why a node works as in training, where that is no attribute."""
    if node.domain:
        return None
    if node.op_type == "Dropout" and len(node.input) > 2 and node.input[2]:
        mode = _constant(graph, node.input[2])
        if mode is None or mode.any():
            return f"training_mode={'an input' if mode is None else 1}: inference only; {_TRAIN}"
    if node.op_type == "BatchNormalization" and opsets.get("", 0) < 14 and any(node.output[1:]):
        return f"statistics as outputs: inference only; {_TRAIN}"
    return None


def _constant(graph, name):
    """Value of a constant of the graph, or None."""
    for initializer in graph.initializer:
        if initializer.name == name and not is_apart(initializer):
            return numpy_helper.to_array(initializer)
    makers = [n for n in graph.node if n.op_type == "Constant" and name in n.output]
    return constant_value(makers[0]) if makers else None
