"""Models of a few quantized operators, imported without what ``load`` does in front of it."""

import numpy as np
from onnx import helper
from onnx_models import model

from superlip import golden
from superlip.graph.onnx.importer.walk import import_model
from superlip.graph.session import open_session

SCALE, ZERO = np.float32(0.05), 120


class Quantized:
    """A model in the making. Activations are uint8 of ``SCALE`` and ``ZERO`` unless another type is asked for."""

    def __init__(self, shape=(1, 2, 4, 4), kind=np.uint8, seed=0):
        self.shape, self.kind = shape, kind
        self.rng = np.random.default_rng(seed)
        self.constants = {"s": SCALE, "z": np.array(ZERO - 128 * (kind == np.int8), kind)}
        self.nodes = []

    def const(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def op(self, op, *inputs, outputs=1, **attributes):
        """Add a node; the name of its result."""
        name = f"n{len(self.nodes)}"
        own = op.startswith(("QLinear", "QGemm")) and op not in ("QLinearConv", "QLinearMatMul")
        results = [f"{name}.{i}" for i in range(outputs)]
        domain = "com.microsoft" if own else ""
        self.nodes.append(helper.make_node(op, list(inputs), results, name=name, domain=domain, **attributes))
        return results[0]

    def both(self, x):
        """QuantizeLinear and DequantizeLinear."""
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, "s", "z"), "s", "z")

    def weights(self, *shape):
        """Dequantized constant of int8."""
        integers = self.const(self.rng.integers(-20, 21, shape).astype(np.int8))
        return self.op("DequantizeLinear", integers, self.const(np.float32(0.02)))

    def conv(self, x, filters, channels, kernel=1, **attributes):
        """A float convolution of quantized weights."""
        return self.op("Conv", x, self.weights(filters, channels, kernel, kernel), **attributes)

    def model(self, *outputs, dtype=np.float32):
        return model(self.nodes, {"x": (dtype, list(self.shape))}, outputs, self.constants)

    def imported(self, *outputs, dtype=np.float32, refused=None):
        """(ir.Graph or None, Importer)."""
        return import_model(self.model(*outputs, dtype=dtype), "test", refused)

    def images(self, count=4, dtype=np.float32):
        shape = (count, *self.shape[1:])
        if np.dtype(dtype).kind == "f":
            return (2 * self.rng.normal(size=shape)).astype(dtype)
        limits = np.iinfo(dtype)
        return self.rng.integers(limits.min, limits.max + 1, shape).astype(dtype)

    def check(self, *outputs, dtype=np.float32, steps=1.0):
        """The graph of the model, whose outputs are ONNX Runtime's but for ``steps`` of ``SCALE`` in few places."""
        graph, importer = self.imported(*outputs, dtype=dtype)
        assert graph is not None, importer.unsupported
        images = self.images(dtype=dtype)
        found = golden.predict_graph(graph, images)
        session = open_session(graph.model, is_optimized=False)
        for position, name in enumerate(graph.onnx_outputs):
            theirs = np.concatenate([session.run(None, {"x": image[None]})[position] for image in images])
            off = np.abs(found[name].reshape(theirs.shape).astype(np.float64) - theirs)
            unit = 1 if theirs.dtype.kind in "iu" else float(SCALE)
            assert off.max() <= steps * unit * 1.001 and (off > unit / 2).sum() <= 2 + 0.05 * off.size, name
            assert theirs.max() > theirs.min()
        return graph
