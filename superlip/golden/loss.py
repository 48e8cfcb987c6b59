"""The first layer that loses a network's accuracy, and what is to blame."""

from dataclasses import dataclass

import numpy as np

from superlip.graph.given import GivenError
from superlip.ops import apply, spec_of

from .run import dequantize

__all__ = ["Loss", "find_loss"]

_HEALTHY_DB = 40.0
"""More than that is no merit of a layer: what falls from there has lost nothing yet."""
_CROSSED_DB = 20.0
_OWN_SHARE_DB = 6.0
"""An error that alone makes up half of the amplitude of the whole one is to blame for it."""


@dataclass(frozen=True)
class Loss:
    """Where the accuracy goes.

    Parameters
    ----------
    layer : str
        Node of the quantized graph: the name of the model's own node.
    tensor : str
        The model's own tensor that it gives.
    before, after : float
        dB of the worst operand and of the result, each against the model as given.
    blame : str
        ``range``, ``weights`` or ``operator``.
    why : str
        The rest of the sentence.
    """

    layer: str
    tensor: str
    before: float
    after: float
    blame: str
    why: str

    def __str__(self):
        fall = f"from {self.before:.1f} to {self.after:.1f} dB"
        return f"lost first in layer {self.layer!r} ({fall}): {self.blame}, {self.why}"


def find_loss(graph, output, images, results, decibels):
    """Walk the model as given tensor by tensor, and find where the quantized network leaves it.

    Parameters
    ----------
    graph : ir.Graph
    output : str
        The model's output that is wrong.
    images : ndarray, shape (B, ...)
        In the type of the model's own input.
    results : dict of str to ndarray
        ``golden.run`` of them.
    decibels : function of (signal, error)

    Returns
    -------
    Loss, or None where no layer stands out, or the model gives none of its inner tensors
    """
    own = {name: graph.own_tensor(name) for name in graph.values}
    known = graph.given.tensors
    names = {name: tensor for name, tensor in own.items() if tensor in known}
    try:
        theirs = graph.given.run(images, sorted(set(names.values())))
    except GivenError:  # a tensor of the original that can't be an output
        return None
    exact = {}
    for name, tensor in names.items():
        array = theirs[tensor]
        if array.dtype == np.float32 and array.size == results[name].size:
            exact[name] = array.reshape(results[name].shape)
    quality = {name: decibels(array, array - dequantize(graph, name, results[name])) for name, array in exact.items()}
    behind = _makers_of(graph, next(n for n, t in zip(graph.outputs, graph.onnx_outputs, strict=True) if t == output))
    worst, reach = None, {}
    for node in graph.nodes:
        before = min((reach.get(i, _HEALTHY_DB) for i in node.inputs), default=_HEALTHY_DB)
        after = min(_HEALTHY_DB, quality.get(node.output, before))
        reach[node.output] = after
        if node.output not in behind or node.output not in quality:
            continue
        if worst is None or before - after > worst[1] - worst[2]:
            worst = node, before, after
        if after < _CROSSED_DB:
            break
    if worst is None or worst[1] - worst[2] <= 0:
        return None
    node, before, after = worst
    blame, why = _blame(graph, node, exact, decibels)
    return Loss(node.name, own[node.output], before, after, blame, why)


def _makers_of(graph, output):
    """Values that an output is made of."""
    found = {output}
    for node in reversed(graph.nodes):
        if node.output in found:
            found.update(node.inputs)
    return found


def _blame(graph, node, exact, decibels):
    wanted, value = exact[node.output], graph.values[node.output]
    if value.is_float:
        return "operator", f"{type(node).__name__.lower()} operation {node.reason}"
    rounded = dequantize(graph, node.output, _as_integers(wanted, value))
    low, high = ((bound - value.zero_point) * value.scale for bound in (-128, 127))
    outside = float(((wanted < low - value.scale / 2) | (wanted > high + value.scale / 2)).mean())
    alone = decibels(wanted, wanted - rounded)
    inputs = [exact.get(name) for name in node.inputs]
    if any(array is None for array in inputs):
        local = alone
    else:
        integers = [_as_integers(a, graph.values[name]) for a, name in zip(inputs, node.inputs, strict=True)]
        local = decibels(wanted, wanted - dequantize(graph, node.output, apply(node, integers, graph.values)))
    if alone < local + _OWN_SHARE_DB:
        if outside > 1e-4:
            return "range", f"{100 * outside:.2g} % of its values leave [{low:.3g}, {high:.3g}], which calibration saw"
        return "range", f"[{low:.3g}, {high:.3g}] is so wide that its values fall in few of the 256 steps"
    if spec_of(node).weight_bytes:
        return "weights", "int8 holds too little of them"
    return "operator", f"{type(node).__name__} in integers"


def _as_integers(reals, value):
    if value.is_float:
        return reals
    scaled = np.rint(reals.astype(np.float32) / np.float32(value.scale)) + np.float32(value.zero_point)
    return np.clip(scaled, -128, 127).astype(np.int8)
