"""From ONNX to a quantized graph."""
