"""From ONNX to the quantized graph: check, rewrite, quantize, import."""
