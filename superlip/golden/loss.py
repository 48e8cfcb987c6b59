"""The first layer that loses a network's accuracy, and what is to blame."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from superlip.graph import ir
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


def find_loss(
    graph: ir.Graph,
    output: str,
    images: NDArray,
    results: Mapping[str, NDArray],
    decibels: Callable[[NDArray, NDArray], float],
) -> Loss | None:
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
    if graph.given is None:
        return None
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
            scale = graph.channel_scales.get(tensor)
            if scale is not None:
                array = array / scale.reshape(1, -1, *(1 for _ in array.shape[2:]))
            exact[name] = array.reshape(results[name].shape)
    quality = {name: decibels(array, array - dequantize(graph, name, results[name])) for name, array in exact.items()}
    behind = _makers_of(graph, next(n for n, t in zip(graph.outputs, graph.onnx_outputs, strict=True) if t == output))
    worst: tuple[ir.Node, float, float] | None = None
    reach: dict[str, float] = {}
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


def _makers_of(graph: ir.Graph, output: str) -> set[str]:
    """Values that an output is made of."""
    found = {output}
    for node in reversed(graph.nodes):
        if node.output in found:
            found.update(node.inputs)
    return found


def _blame(
    graph: ir.Graph,
    node: ir.Node,
    exact: Mapping[str, NDArray],
    decibels: Callable[[NDArray, NDArray], float],
) -> tuple[str, str]:
    wanted, value = exact[node.output], graph.values[node.output]
    on_host = spec_of(node).on_host(graph.values)
    if on_host is not None and value.is_float:
        return "operator", f"host operation {on_host.reason}"
    rounded = value.dequantize(value.quantize(wanted))
    low, high = value.real_bounds
    outside = float(((wanted < low - value.scale / 2) | (wanted > high + value.scale / 2)).mean())
    alone = decibels(wanted, wanted - rounded)
    if exact.keys() >= set(node.inputs):
        integers = [_as_integers(exact[name], graph.values[name]) for name in node.inputs]
        local = decibels(wanted, wanted - value.dequantize(apply(node, integers, graph.values)))
    else:
        local = alone
    if alone < local + _OWN_SHARE_DB:
        if outside > 1e-4:
            return "range", f"{100 * outside:.2g} % of its values leave [{low:.3g}, {high:.3g}], which calibration saw"
        return (
            "range",
            f"[{low:.3g}, {high:.3g}] is so wide that its values fall in few of the {value.element.patterns} steps",
        )
    if spec_of(node).weight_bytes:
        return "weights", f"{value.element} holds too little of them"
    return "operator", f"{type(node).__name__} in integers"


def _as_integers(reals: NDArray, value: ir.Value) -> NDArray:
    return reals if value.is_float else value.quantize(reals)
