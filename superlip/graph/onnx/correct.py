"""Bias correction: what rounding adds to the mean of each output channel is taken off the bias, which costs nothing."""

from collections.abc import Collection, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from superlip.graph.apart import tensors_of

from .onnxtools import attributes
from .quantize import activation_params, quantize_weights
from .rewrite import Prepared
from .stretches import run_tensors

__all__ = ["bias_shifts"]


def bias_shifts(
    prepared: Prepared,
    ranges: Mapping[str, tuple[float, float]],
    images: NDArray[np.float32],
    hosted: Collection[str] = (),
) -> dict[str, NDArray[np.float32]]:
    """Mean error of each output channel of the convolutions and dense layers, each by itself.

    A layer's own operands, of the float model on calibration images, are rounded as the accelerator has them, and so
    are its weights: the mean of what that changes in a channel is no noise, and goes into its bias. Images are fed one
    by one, and only means are kept.

    Parameters
    ----------
    prepared : Prepared
    ranges : dict of str to (low, high)
        Of its tensors.
    images : ndarray float32, shape (N, ...)
    hosted : names
        Of nodes that the host is to run.

    Returns
    -------
    dict of str to ndarray float32, shape (M,)
        What is to be added to the bias, by the node's name.

    Raises
    ------
    ModelError
        If ONNX Runtime can't run the model.
    """
    units, params, _ = activation_params(prepared, ranges, hosted)
    layers = [u.node for u in units if u.kind == "integer" and u.op in ("Conv", "Gemm") and u.sources[0] in params]
    if not layers:
        return {}
    model, weights = _with_errors(prepared, layers, params)
    sums: dict[str, NDArray] = {}

    def add(name, array):
        sums[name] = sums.get(name, 0.0) + array.reshape(-1).astype(np.float64)

    run_tensors(model, [_error(node) for node in layers], images, add, weights)
    return {node.name: (sums[_error(node)] / len(images)).astype(np.float32) for node in layers}


def _error(node):
    return f"{node.name}/error"


def _with_errors(prepared, layers, params):
    """The float model that also gives each layer's mean error by channel, and its constants."""
    model = onnx.ModelProto.FromString(prepared.model.SerializeToString())
    graph = model.graph
    del graph.output[:]
    more: dict[str, NDArray] = {}

    def constant(name, array):
        more[name] = np.asarray(array)
        return name

    for node in layers:
        name, source = node.name, params[node.input[0]]
        bias = prepared.consts[node.input[2]].reshape(-1) if len(node.input) > 2 and node.input[2] else None
        integers, scale, q_bias = quantize_weights(prepared.consts[node.input[1]], bias, source.scale)
        along = scale.reshape(-1, *(1 for _ in integers.shape[1:]))
        pair = [constant(f"{name}/in_scale", source.scale), constant(f"{name}/in_zero", np.uint8(source.zero))]
        operands = [f"{name}/rounded", constant(f"{name}/rounded_weights", integers * along)]
        if q_bias is not None:
            reals = q_bias.astype(np.float64) * float(source.scale) * scale
            operands.append(constant(f"{name}/rounded_bias", reals.astype(np.float32)))
        graph.node.extend([
            helper.make_node("QuantizeLinear", [node.input[0], *pair], [f"{name}/integers"]),
            helper.make_node("DequantizeLinear", [f"{name}/integers", *pair], [operands[0]]),
            helper.make_node(node.op_type, operands, [f"{name}/result"], **attributes(node)),
            helper.make_node("Sub", [node.output[0], f"{name}/result"], [f"{name}/errors"]),
            helper.make_node(
                "Identity" if node.op_type == "Gemm" else "GlobalAveragePool", [f"{name}/errors"], [_error(node)]
            ),
        ])  # fmt: skip
        graph.output.append(onnx.ValueInfoProto(name=_error(node)))
    graph.initializer.extend(tensors_of(more))
    return model, prepared.consts | more
