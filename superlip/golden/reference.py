"""ONNX Runtime beside the golden: outputs of the network, and layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

from superlip.graph import ir
from superlip.graph.given import Given
from superlip.graph.images import input_of
from superlip.ops import apply

from .run import dequantize, own_numbers, quantize_input, run

__all__ = ["reference", "Difference", "Comparison"]


FLOAT_ROUNDING = 1e-5
"""Of the largest value of a tensor that the host computes in float32: sums may be added in another order."""


@dataclass(frozen=True)
class Difference:
    """Values of one tensor in which the golden and ONNX Runtime differ; a host's by more than ``FLOAT_ROUNDING``."""

    name: str
    kind: str
    values: int
    mismatches: int
    largest: float
    """Largest difference: steps of elements, or the output's unit for float outputs."""


@dataclass
class Comparison:
    """Result of ``reference``.

    ``outputs``: one Difference an output of the network. ``layers``: one a layer, each computed by the golden from
    ONNX Runtime's own inputs, so that a difference shows where it is made. ``top1``: images whose largest output
    agrees, of ``images``.
    """

    images: int
    outputs: list[Difference]
    top1: int
    layers: list[Difference] = field(default_factory=list)

    @property
    def mismatches(self) -> int:
        """Values that differ in the outputs."""
        return sum(d.mismatches for d in self.outputs)

    @property
    def layer_mismatches(self) -> int:
        """Values that differ in any layer."""
        return sum(d.mismatches for d in self.layers)


def reference(
    graph: ir.Graph,
    images: ArrayLike,
    *,
    layers: bool = False,
    results: Mapping[str, NDArray] | None = None,
) -> Comparison:
    """Run the quantized model in ONNX Runtime and compare.

    Parameters
    ----------
    graph : ir.Graph
    images : ndarray, shape (B, C, H, W)
        As ``quantize_input`` takes them.
    layers : bool
        Compare every layer too.
    results : dict of str to ndarray, optional
        What ``run`` gave for these images.

    Returns
    -------
    Comparison
    """
    quantized = quantize_input(graph, images)
    results = run(graph, quantized) if results is None else results
    outputs = _run_model(graph.model, graph, quantized, images, graph.onnx_outputs)
    differences, top1 = [], len(quantized)
    for position, (name, tensor) in enumerate(zip(graph.outputs, graph.onnx_outputs, strict=True)):
        value = graph.values[name]
        theirs = outputs[tensor]
        if theirs.dtype in value.element.types:
            ours = results[name]
            theirs = value.element.from_own(theirs)
        else:
            ours = dequantize(graph, name, results[name])
        theirs = theirs.reshape(ours.shape)
        kind = "host" if value.is_float else "output"
        differences.append(_difference(tensor, kind, ours, theirs))
        if position == 0:
            flat = [a.reshape(len(quantized), -1).argmax(axis=1) for a in (ours, theirs)]
            top1 = int((flat[0] == flat[1]).sum())
    comparison = Comparison(len(quantized), differences, top1)
    if layers:
        comparison.layers = _layers(graph, quantized, images)
    return comparison


def _layers(graph: ir.Graph, quantized: NDArray, images: ArrayLike) -> list[Difference]:
    model = onnx.load_from_string(graph.model)
    tensors = {o for n in model.graph.node for o in n.output} | {i.name for i in model.graph.input}
    names = [n for n in graph.values if n in tensors and not graph.values[n].is_float]
    present = {o.name for o in model.graph.output}
    inputs = {graph.onnx_input, *(part.takes.name for part in graph.parts)}
    wanted = [n for n in names if n not in inputs]
    model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in wanted if n not in present)
    theirs = _run_model(model.SerializeToString(), graph, quantized, images, wanted)
    # a MaxPool between DequantizeLinear and QuantizeLinear has a float tensor where the graph has a value of integers
    values = {name: graph.values[name] for name in wanted}
    known = {
        name: value.element.from_own(theirs[name]).reshape(-1, *value.shape)
        for name, value in values.items()
        if theirs[name].dtype in value.element.types
    }
    given = set(known)
    known[graph.input] = known.get(graph.input, quantized)
    differences = []
    for node in graph.nodes:
        ours = apply(node, [known[i] for i in node.inputs], graph.values)
        if node.output in given:
            differences.append(_difference(node.name, type(node).__name__, ours, known[node.output]))
        else:
            known[node.output] = ours
    return differences


def _difference(name: str, kind: str, ours: NDArray, theirs: NDArray) -> Difference:
    gap = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    allowed = FLOAT_ROUNDING * float(np.abs(theirs).max(initial=0)) if kind == "host" else 0.0
    return Difference(name, kind, gap.size, int((gap > allowed).sum()), float(gap.max(initial=0)))


def _run_model(
    model: bytes, graph: ir.Graph, quantized: NDArray, images: ArrayLike, names: list[str]
) -> dict[str, NDArray]:
    """Named tensors of the model for every image, batches joined."""
    return Given(model, graph.onnx_input, input_of(graph).parts).run(own_numbers(graph, images, quantized), names)
