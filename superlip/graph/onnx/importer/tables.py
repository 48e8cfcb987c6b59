"""Element-wise functions as 256-entry tables, computed by ONNX Runtime itself."""

import numpy as np
from onnx import TensorProto, helper

from superlip.graph.onnx.onnxtools import small_model
from superlip.graph.session import open_session

__all__ = ["float_table", "operator_table", "clamp_of"]


def float_table(nodes, operands, source, result, opsets):
    """Table of DequantizeLinear -> ``nodes`` -> QuantizeLinear.

    Parameters
    ----------
    nodes : list of NodeProto
        From the tensor ``source[0]`` to the tensor ``result[0]``; none: a change of scale.
    operands : dict of str to ndarray
        Constants they take.
    source, result : (tensor name, scale, zero point)
        int8.

    Returns
    -------
    ndarray int8, shape (256,): entry by byte pattern
    """
    scales = {
        "superlip_in_scale": np.float32(source[1]),
        "superlip_in_zero": np.int8(source[2]),
        "superlip_out_scale": np.float32(result[1]),
        "superlip_out_zero": np.int8(result[2]),
    }
    last = result[0] if nodes else source[0]
    model = small_model(
        [
            helper.make_node("DequantizeLinear", ["superlip_in", "superlip_in_scale", "superlip_in_zero"], [source[0]]),
            *nodes,
            helper.make_node("QuantizeLinear", [last, "superlip_out_scale", "superlip_out_zero"], ["superlip_out"]),
        ],
        [("superlip_in", TensorProto.INT8, [1, 1, 1, 256])],
        ["superlip_out"],
        {k: np.asarray(v) for k, v in (operands | scales).items()},
        {"": 17} | opsets,
    )
    return _run(model, np.int8)


def operator_table(node, operands, is_unsigned, opsets):
    """Table of one quantized operator (QLinearSigmoid, QLinearLeakyRelu) whose other inputs are constants."""
    kind = TensorProto.UINT8 if is_unsigned else TensorProto.INT8
    model = small_model(
        [node],
        [(node.input[0], kind, [1, 1, 1, 256])],
        [node.output[0]],
        {name: operands[name] for name in node.input[1:] if name},
        {"": 17, "com.microsoft": 1} | opsets,
    )
    return _run(model, np.uint8 if is_unsigned else np.int8)


def _run(model, dtype):
    """Run a model on all 256 values; uint8 tensors are moved to int8 by 128 on both sides."""
    flip = np.uint8(0x80 if dtype == np.uint8 else 0)
    patterns = (np.arange(256, dtype=np.uint8) ^ flip).view(dtype).reshape(1, 1, 1, 256)
    session = open_session(model)
    result = session.run(None, {session.get_inputs()[0].name: patterns})[0].reshape(256)
    return (result.view(np.uint8) ^ flip).view(np.int8).copy()


def clamp_of(table):
    """(low, high) where the table only clips, or None."""
    identity = np.arange(256, dtype=np.uint8).view(np.int8)
    low, high = int(table.min()), int(table.max())
    return (low, high) if np.array_equal(np.clip(identity, low, high), table) else None
