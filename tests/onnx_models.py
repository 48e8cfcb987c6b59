"""Small ONNX models for tests: single quantized operators, and float nets."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"


def model(nodes, inputs, outputs, constants, opset=17):
    """ModelProto. ``inputs``: dict of name to (numpy type, shape); ``outputs``: names or dict of name to shape."""
    kinds = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8, "float32": TensorProto.FLOAT}
    infos = [helper.make_tensor_value_info(n, kinds[np.dtype(d).name], s) for n, (d, s) in inputs.items()]
    results = [onnx.ValueInfoProto(name=o) for o in outputs]
    if isinstance(outputs, dict):
        results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()]
    graph = helper.make_graph(
        nodes, "test", infos, results, [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)


def node(op, inputs, outputs, **attributes):
    """NodeProto; the quantized operators that are not standard go to ONNX Runtime's domain."""
    standard = not op.startswith(("QLinear", "QGemm")) or op in ("QLinearConv", "QLinearMatMul")
    return helper.make_node(op, inputs, outputs, name=op.lower(), domain="" if standard else MICROSOFT, **attributes)


class FloatNet:
    """Builder of a float net: each method adds a node and returns the name of its result."""

    def __init__(self, shape, seed=0):
        self.rng = np.random.default_rng(seed)
        self.shape = shape
        self.nodes, self.constants = [], {}

    def op(self, op, *inputs, outputs=1, **attributes):
        name = f"n{len(self.nodes)}"
        results = [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), results, name=name, **attributes))
        return results[0] if outputs == 1 else results

    def const(self, array, dtype=np.float32):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array, dtype)
        return name

    def conv(self, x, m, n, k=3, groups=1, **attributes):
        weights = self.rng.normal(size=(m, n // groups, k, k)) * np.sqrt(2 * groups / (n * k * k))
        attributes = {"pads": [k // 2] * 4} | attributes
        bias = self.const(0.1 * self.rng.normal(size=m))
        return self.op("Conv", x, self.const(weights), bias, group=groups, **attributes)

    def norm(self, x, channels):
        params = [1 + 0.1 * self.rng.normal(size=channels), *(0.2 * self.rng.normal(size=(2, channels)))]
        variance = 0.5 + self.rng.random(channels)
        return self.op("BatchNormalization", x, *map(self.const, (*params, variance)))

    def dense(self, x, m, n):
        weights = self.rng.normal(size=(m, n)) / np.sqrt(n)
        return self.op("Gemm", x, self.const(weights), self.const(0.1 * self.rng.normal(size=m)), transB=1)

    def model(self, *outputs, opset=17):
        return model(self.nodes, {"x": (np.float32, ["N", *self.shape])}, outputs, self.constants, opset)

    def images(self, count):
        return self.rng.normal(size=(count, *self.shape)).astype(np.float32)
