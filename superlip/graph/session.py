"""ONNX Runtime sessions, opened the same way everywhere."""

import numpy as np
import onnx
import onnxruntime

from .apart import Weights, is_apart, whole
from .exact import has_products, with_uint8_products

__all__ = ["SessionError", "open_session"]


class SessionError(RuntimeError):
    """ONNX Runtime can't open a model."""


onnxruntime.set_default_logger_severity(4)  # what it would print is in its exceptions, too


def open_session(
    model: bytes, *, is_optimized: bool = True, weights: Weights | None = None
) -> onnxruntime.InferenceSession:
    """A CPU session whose integer arithmetic is exact on every x86 CPU.

    Parameters
    ----------
    model : bytes
        Serialized ONNX model.
    is_optimized : bool
        False leaves the nodes as they are written (no fusion): Q/DQ pairs are then computed in floating point.
    weights : dict of str to ndarray, optional
        Numbers of the constants that the model has by name only (``apart.py``).

    Raises
    ------
    SessionError
        If ONNX Runtime refuses the model.
    """
    if weights and has_products(model):
        model, weights = whole(model, weights), None
    shifted = with_uint8_products(model)
    try:
        return _open(model if shifted is None else shifted, weights, is_optimized=is_optimized)
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        if shifted is not None or not is_optimized:
            raise SessionError(str(error)) from error
    try:  # products of Q/DQ pairs have no exact kernel for int8 operands: left unfused, they are in floating point
        return _open(model, weights, is_optimized=False)
    except Exception as error:
        raise SessionError(str(error)) from error


def _open(model, weights, *, is_optimized):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    # uint8 x int8 products saturate at 16 bits on CPUs with AVX2 but no VNNI, unless told otherwise
    options.add_session_config_entry("session.x64quantprecision", "1")
    # Without this the optimizer turns int8 DequantizeLinear/QuantizeLinear pairs to uint8, some of them only:
    # layers between an int8 and a uint8 tensor then run in floating point.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others have work for the core
    options.enable_cpu_mem_arena = False  # which keeps as much as was ever used, and twice that
    lent = _lent(model, weights) if weights else {}
    options.add_external_initializers(list(lent), list(lent.values()))
    if not is_optimized:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    # with its fallback, it prints what goes wrong on standard output and tries the same again
    session = _Session(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    session.lent = lent
    return session


class _Session(onnxruntime.InferenceSession):
    """``lent``: constants that are not the session's own, and live as long as it."""

    lent: dict[str, onnxruntime.OrtValue]


def _lent(model, weights):
    """Constants that a model has by name only, as ONNX Runtime takes them: where numpy has them.

    It forgets those that no node takes and that are no input, and refuses to be given them.
    """
    graph = onnx.load_from_string(model).graph
    used = {name for node in graph.node for name in node.input}
    used |= {info.name for info in (*graph.input, *graph.output)}
    names = [tensor.name for tensor in graph.initializer if is_apart(tensor) and tensor.name in used]
    return {n: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(weights[n])) for n in names}
