"""ONNX Runtime sessions, opened the same way everywhere."""

import onnxruntime

__all__ = ["open_session"]


def open_session(model, *, is_optimized=True):
    """A CPU session whose integer arithmetic is exact on every x86 CPU.

    Parameters
    ----------
    model : bytes
        Serialized ONNX model.
    is_optimized : bool
        False leaves the nodes as they are written (no fusion).
    """
    try:
        return _open(model, is_optimized=is_optimized, is_exact=True)
    except Exception:  # onnxruntime's exceptions share no base class of their own
        # the option turns weights to uint8, and QGemm of int8 activations has no kernel for those
        return _open(model, is_optimized=is_optimized, is_exact=False)


def _open(model, *, is_optimized, is_exact):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if is_exact:
        # uint8 x int8 products saturate at 16 bits on CPUs with AVX2 but no VNNI, unless told otherwise
        options.add_session_config_entry("session.x64quantprecision", "1")
    # Without this the optimizer turns int8 DequantizeLinear/QuantizeLinear pairs to uint8, some of them only:
    # layers between an int8 and a uint8 tensor then run in floating point.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    if not is_optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
