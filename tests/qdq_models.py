"""Q/DQ nets for tests, and the golden held against ONNX Runtime on the model as given."""

import numpy as np
from onnx_models import FloatNet

from superlip import golden, graph
from superlip.graph.session import open_session

SHAPE = (3, 8, 8)
ZERO = np.uint8(120)


class QdqNet(FloatNet):
    """Builder of a Q/DQ net; the scale of every activation is 0.05 unless another is given."""

    def quantize(self, x, *, scale=0.05, zero=None, **attributes):
        operands = [self.const(scale)] + ([] if zero is None else [self.const(zero, zero.dtype)])
        return self.op("QuantizeLinear", x, *operands, **attributes)

    def dequantize(self, x, *, scale=0.05, zero=None, **attributes):
        operands = [self.const(scale)] + ([] if zero is None else [self.const(zero, zero.dtype)])
        return self.op("DequantizeLinear", x, *operands, **attributes)

    def both(self, x, *, scale=0.05, zero=ZERO, **attributes):
        return self.dequantize(self.quantize(x, scale=scale, zero=zero, **attributes), scale=scale, zero=zero)

    def weights(self, m, n, k=1, *, kind=np.int8, scale=0.0313, **attributes):
        integers = self.const(self.rng.integers(-7, 8, (m, n, k, k)).astype(kind), kind)
        return self.dequantize(integers, scale=scale, **attributes)

    def model(self, *outputs, opset=21):
        found = super().model(*outputs, opset=opset)
        found.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
        return found


def assert_equal(quantized, images, *, steps=1):
    """The golden gives ONNX Runtime's outputs of the model as given, but for ties in float32."""
    g = graph.load(quantized)
    found = golden.run(g, golden.quantize_input(g, images))
    session = open_session(quantized.SerializeToString(), is_optimized=False)
    for position, (name, value) in enumerate(zip(g.onnx_outputs, g.outputs, strict=True)):
        theirs = np.concatenate([session.run(None, {"x": image[None]})[position] for image in images])
        ours = golden.dequantize(g, value, found[value]).reshape(theirs.shape)
        assert np.abs(theirs).max() > 0.2, name
        off = np.abs(ours - theirs) > 1e-5
        assert np.abs(ours - theirs).max() <= steps * 0.05 + 1e-5, name
        assert off.mean() <= 0.03, name
    return g
