"""A prepared float model to integers: which tensors are integers, at which scale, and which operator computes them.

The result is an ONNX model in QOperator format (docs/quantization.md says why): integer operators wherever ONNX Runtime
has one that is exact; DequantizeLinear, operator, QuantizeLinear elsewhere, which the importer turns into tables,
poolings and host operations. Every node of the model is in the result, or in ``taken_in`` with the reason why not: an
activation is left out only where the integers saturate exactly where it does.
"""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

from superlip.element import INT8
from superlip.graph.apart import Weights
from superlip.graph.ir import integers_of

from .functions import ELEMENTWISE, affine_factors
from .importer.weights import LARGEST_BIAS
from .onnxtools import attributes
from .precise import row_blocks
from .reach import reach_of
from .rewrite import Prepared
from .scales import LARGEST, Params, choose_params
from .units import Unit, find_units
from .views import LAYOUT_OPS

__all__ = ["activation_params", "quantize", "quantize_weights"]

MICROSOFT = "com.microsoft"
_INTEGER_MOVERS = frozenset(
    ["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Split", "Gather", "MaxPool", "Resize"]
)
"""Movers that ONNX Runtime has for integers; the others run between DequantizeLinear and QuantizeLinear."""
_CHEAP_ON_HOST = (LAYOUT_OPS | ELEMENTWISE | {"Concat"}) - {"Resize", "Upsample"}
"""Operators that stay on the host between others of the host: work on each element once, or none."""
_CHEAP_TAILS = frozenset(["Relu", "Clip", "LeakyRelu", "Sigmoid"])
"""Element-wise functions that are tables even where the model's output is all that takes them."""
_ELEMENT = INT8


def activation_params(
    prepared: Prepared,
    ranges: Mapping[str, tuple[float, float]],
    hosted: Collection[str] = (),
    known: dict[Any, Any] | None = None,
) -> tuple[list[Unit], dict[str, Params], set[str]]:
    """How a prepared model's nodes and tensors are quantized; ``known`` as for ``quantize``.

    Returns
    -------
    (list of Unit, dict of str to Params: of tensors, set of str: those that saturate where others clip them)
    """
    units = find_units(prepared, hosted)
    inputs = [info.name for info in prepared.model.graph.input]
    known = {} if known is None else known

    def reach(unit, span, result):
        key = unit.output, tuple(node.name for node in unit.members), span, result
        if key not in known:
            known[key] = reach_of(prepared, unit, span, result)
        return known[key]

    return units, *choose_params(units, ranges, inputs, prepared.outputs, reach)


def quantize(
    prepared: Prepared,
    ranges: Mapping[str, tuple[float, float]],
    hosted: Collection[str] = (),
    shifts: Mapping[str, NDArray] | None = None,
    known: dict[Any, Any] | None = None,
) -> tuple[ModelProto, Weights]:
    """Quantize a prepared float model.

    Parameters
    ----------
    prepared : Prepared
        See ``rewrite.prepare``. Its ``taken_in`` learns which nodes were taken in by others.
    ranges : dict of str to (low, high)
        Of its tensors on calibration images: ``calibrate.observe_ranges``.
    hosted : names
        Of nodes that the host is to run, in floating point.
    shifts : dict of str to ndarray, optional
        What is added to the biases of Conv and Gemm on the accelerator, by the node's name.
    known : dict, optional
        What has been computed for the same model, ranges and shifts, with other nodes on the host; it learns the rest.

    Returns
    -------
    ModelProto: unsigned activations, signed weights with one scale an output channel. A tensor keeps its name where it
    is an integer; the integers of an output of the model have the name that ``ir.integers_of`` gives them.
    dict of str to ndarray: its constants, of which it has the large ones by name only
    """
    return _Writer(prepared, ranges, hosted, shifts or {}, {} if known is None else known).model()


def _wanted(units):
    """Tensors that some accelerated operator takes, directly or through what is done to them, be it on the host."""
    wanted = set()
    for unit in reversed(units):
        if unit.kind == "integer" or not wanted.isdisjoint(unit.results):
            wanted.update(unit.sources)
    return wanted


def _for_host(units):
    """Tensors that only the host takes, if it does the cheap work between its own, too."""
    found = {name for unit in units for name in unit.results}
    for unit in reversed(units):
        if unit.kind != "host" and not (unit.op in _CHEAP_ON_HOST and found.issuperset(unit.results)):
            found.difference_update(unit.sources)
    return found


class _Writer:
    """Writes the quantized model: a tensor is there as integers, as floats, or as both."""

    def __init__(self, prepared, ranges, hosted, shifts, known):
        self.prepared = prepared
        prepared.taken_in = {}
        prepared.between = set()
        self.consts, self.outputs = prepared.consts, prepared.outputs
        self.inputs = [info.name for info in prepared.model.graph.input]
        self.shifts, self.known = shifts, known
        self.units, self.params, self.saturated = activation_params(prepared, ranges, hosted, known)
        self.wanted = _wanted(self.units)
        self.for_host = _for_host(self.units)
        self.makers = {o: n.name for n in prepared.nodes for o in n.output}
        self.integers, self.floats, self.reals = {}, {}, {}
        self.nodes, self.initializers = [], {}

    def model(self) -> tuple[ModelProto, Weights]:
        for name in self.inputs:
            self._write_input(name)
        for unit in self.units:
            self._write(unit)
        outputs = dict.fromkeys(info.name for info in self.prepared.graph.output)
        for name in outputs:
            self.as_float(name)
        used = dict.fromkeys(i for n in self.nodes for i in n.input) | outputs
        self.initializers |= {name: self.consts[name] for name in used if name in self.consts}
        return self.prepared.with_nodes(self.nodes, self.initializers, {MICROSOFT: 1}), self.initializers

    # ---- a tensor's two forms

    def as_integer(self, name: str) -> str:
        """The integer form of a tensor, made where it is only there as floats."""
        if name not in self.integers:
            operands = [self.floats[name], *self._quantization(name)]
            self.integers[name] = self._node(
                "QuantizeLinear", operands, integers_of(name), f"{self._maker(name)}/quantize"
            )
        return self.integers[name]

    def as_real(self, name: str) -> str:
        """The floats that a tensor's integers stand for, also where the host has better ones."""
        if name not in self.reals:
            operands = [self.as_integer(name), *self._quantization(name)]
            is_free = name in self.outputs and name not in self.floats and name not in self.inputs
            result = name if is_free else f"{name}/real"
            self.reals[name] = self._node("DequantizeLinear", operands, result, f"{self._maker(name)}/dequantize")
        return self.reals[name]

    def as_float(self, name: str) -> str:
        """The float form of a tensor: what the host computed, or what its integers stand for."""
        if name in self.consts or not name:
            return name
        return self.floats.get(name) or self.as_real(name)

    def _maker(self, name):
        """Node of the model that gives a tensor, or the input: what nodes around it are named after."""
        return self.makers.get(name, name)

    def _integer_name(self, name):
        """Of a tensor's integers: its own, unless somebody may look for its floats under that."""
        if name in self.outputs:
            return integers_of(name)
        return f"{name}/saturated" if name in self.saturated else name

    def _quantization(self, name):
        params = self.params[name]
        return [
            self._constant(f"{name}/scale", np.float32(params.scale)),
            self._constant(f"{name}/zero_point", _ELEMENT.unsigned.type(params.zero)),
        ]

    def _quantized(self, name):
        return [self.as_integer(name), *self._quantization(name)]

    def _constant(self, name, value):
        self.initializers[name] = np.asarray(value)
        return name

    # ---- nodes

    def _write_input(self, name):
        """The accelerator takes integers only: the floats of an input are what its integers stand for."""
        operands = [name, *self._quantization(name)]
        self.integers[name] = self._node("QuantizeLinear", operands, integers_of(name), f"{name}/quantize")

    def _node(self, op, inputs, result, name, *, domain="", **given):
        self.nodes.append(helper.make_node(op, inputs, [result], name=name, domain=domain, **given))
        return result

    def _write(self, unit):
        if not self._stays_integer(unit):
            return self._write_floats(unit)
        if unit.kind == "integer":
            return self._write_integer(unit)
        if unit.kind == "clip" and self.params[unit.sources[0]] == self.params[unit.output]:
            return self._clip(unit, self.as_integer(unit.sources[0]), [unit.node])
        if unit.kind == "mover" and unit.op in _INTEGER_MOVERS and not unit.interpolates:
            return self._write_moved(unit)
        return self._write_between(unit)

    def _stays_integer(self, unit):
        if not unit.on_accelerator or not all(name in self.params for name in (*unit.sources, *unit.results)):
            return False
        of_host = [name in self.floats and name not in self.integers for name in unit.sources]
        if unit.op in _CHEAP_ON_HOST and (all(of_host) or (any(of_host) and self.for_host.issuperset(unit.results))):
            return False  # the host has what it takes, or takes what it gives: no stop of the boards for so little
        if unit.kind == "integer" or not self.wanted.isdisjoint(unit.results):
            return True
        # nothing accelerated comes behind it: on the accelerator only where its operand is there and it costs nothing
        if not all(name in self.integers for name in unit.sources):
            return False
        return unit.kind in ("mover", "clip") or unit.op not in ELEMENTWISE or unit.op in _CHEAP_TAILS

    def _write_floats(self, unit):
        for node in unit.members:
            copy = _copy(node)
            _set(copy.input, [self.as_float(i) if i in unit.sources else i for i in node.input])
            self.nodes.append(copy)
        self.floats.update((name, name) for name in unit.results)

    def _write_between(self, unit):
        """DequantizeLinear, the members, QuantizeLinear."""
        if not unit.is_mover:
            self.prepared.between.update(node.name for node in unit.members)
        operands = {name: self.as_real(name) for name in unit.sources}
        if len(unit.members) == 1:
            operands |= self._constant_tensors(unit.node)
        for node in unit.members:
            copy = _copy(node)
            _set(copy.input, [operands.get(i, i) for i in node.input])
            if node is unit.members[-1]:
                _set(copy.output, [f"{o}/float" if o else o for o in node.output])
            self.nodes.append(copy)
        for name in unit.results:
            self.integers[name] = self._node(
                "QuantizeLinear", [f"{name}/float", *self._quantization(name)], self._integer_name(name),
                f"{self._maker(name)}/quantize",
            )  # fmt: skip

    def _constant_tensors(self, node):
        """A constant with a number for each element, of a node of two operands: dequantized integers, by its name."""
        if node.op_type not in ("Add", "Sub", "Mul") or len(node.input) != 2:
            return {}
        for position, name in enumerate(node.input):
            rank = len(self.prepared.shapes.get(node.input[1 - position], ()))
            value = self.consts.get(name)
            if value is None or not rank or affine_factors(node.op_type, value, rank, position == 0) is not None:
                continue
            if value.dtype == np.float32 and value.size > 1:
                base = f"{node.name}/operand{position}"
                scale = Params.of(float(value.min()), float(value.max()))
                steps = np.rint(value / scale.scale) + scale.zero
                integers = np.clip(steps, 0, LARGEST).astype(_ELEMENT.unsigned)
                quantized = [
                    self._constant(f"{base}/{_ELEMENT.unsigned}", integers),
                    self._constant(f"{base}/scale", np.float32(scale.scale)),
                    self._constant(f"{base}/zero_point", _ELEMENT.unsigned.type(scale.zero)),
                ]
                return {name: self._node("DequantizeLinear", quantized, f"{base}/real", f"{base}/dequantize")}
        return {}

    def _write_moved(self, unit):
        copy = _copy(unit.node)
        _set(copy.input, [self.as_integer(unit.sources[0]), *unit.node.input[1:]])
        _set(copy.output, [self._integer_name(o) if o else o for o in unit.node.output])
        self.nodes.append(copy)
        self.integers.update((name, self._integer_name(name)) for name in unit.results)

    def _write_integer(self, unit):
        steps = self.params[unit.output].steps(unit.clip)
        is_clipped = steps != (0, LARGEST)
        name = self._integer_name(unit.output)
        self._operator(unit, f"{name}/unclipped" if is_clipped else name)
        if is_clipped:
            self._clip(unit, f"{name}/unclipped", unit.members[1:])
            return
        self.integers[unit.output] = name
        self._taken_in(unit.members[1:], unit.node)

    def _clip(self, unit, source, nodes):
        """Clip of integers, in the place of ``nodes``; nothing where the integers end there themselves."""
        steps = self.params[unit.output].steps(unit.clip)
        if steps == (0, LARGEST) and unit.output not in self.outputs:
            self.integers[unit.output] = source
            self._taken_in(nodes, None)
            return
        bounds = [
            self._constant(f"{unit.output}/{side}", _ELEMENT.unsigned.type(step))
            for side, step in zip(("low", "high"), steps, strict=True)
        ]
        self.integers[unit.output] = self._node(
            "Clip", [source, *bounds], self._integer_name(unit.output), nodes[-1].name
        )
        self._taken_in(nodes[:-1], nodes[-1])

    def _taken_in(self, nodes, by):
        for node in nodes:
            where = "the range of the quantized tensor before it" if by is None else f"{by.op_type} {by.name!r}"
            self.prepared.taken_in[node.name] = ("folded", f"into {where}")

    def _operator(self, unit, result):
        """The integer operator of a unit, from quantized operands to ``result``."""
        node = unit.node
        quantization = self._quantization(unit.output)
        given = attributes(node)
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            return self._weighted(node, result, quantization, given)
        if node.op_type == "Concat":
            operands = [q for name in node.input for q in self._quantized(name)]
            return self._node("QLinearConcat", [*quantization, *operands], result, node.name, domain=MICROSOFT, **given)
        operands = [q for name in node.input for q in self._quantized(name)]
        return self._node(
            f"QLinear{node.op_type}", [*operands, *quantization], result, node.name, domain=MICROSOFT, **given
        )

    def _weighted(self, node, result, quantization, given):
        weights = self.consts[node.input[1]]
        rows = weights.T if node.op_type == "MatMul" else weights
        bias = self.consts[node.input[2]].reshape(-1) if len(node.input) > 2 and node.input[2] else None
        if node.name in self.shifts:
            bias = self.shifts[node.name] + (0 if bias is None else bias)
        source = self.params[node.input[0]].scale
        if (node.name, source) not in self.known:
            self.known[node.name, source] = quantize_weights(rows, bias, source)
        q, scale, q_bias = self.known[node.name, source]
        operands = [
            *self._quantized(node.input[0]),
            self._constant(f"{node.name}/weights_{_ELEMENT}", q.T if node.op_type == "MatMul" else q),
            self._constant(f"{node.name}/weights_scale", scale),
            self._constant(f"{node.name}/weights_zero_point", np.zeros(len(scale), _ELEMENT.dtype)),
        ]
        if node.op_type == "MatMul":
            return self._node("QLinearMatMul", [*operands, *quantization], result, node.name)
        bias = [] if q_bias is None else [self._constant(f"{node.name}/bias_int32", q_bias)]
        if node.op_type == "Conv":
            return self._node("QLinearConv", [*operands, *quantization, *bias], result, node.name, **given)
        kept = {"transB": 1}
        return self._node(
            "QGemm", [*operands, *(bias or [""]), *quantization], result, node.name, domain=MICROSOFT, **kept
        )


def quantize_weights(
    weights: NDArray, bias: NDArray | None, source: np.float32
) -> tuple[NDArray, NDArray[np.float32], NDArray[np.int32] | None]:
    """Weights as signed integers with a scale for each output, and the bias at the scale of the products.

    Parameters
    ----------
    weights : ndarray float32, shape (M, ...)
    bias : ndarray float32, shape (M,), or None
    source : float32
        Scale of the operand.

    Returns
    -------
    (elements shape (M, ...), float32 shape (M,), int32 shape (M,) or None)
    """
    flat = weights.reshape(len(weights), -1)
    peak = np.maximum(flat.max(axis=1, initial=0.0), -flat.min(axis=1, initial=0.0)).astype(np.float64)
    scale = peak / _ELEMENT.high
    if bias is not None:
        # a scale so small that the bias leaves int32 gives way; without weights it is the bias's alone
        size = np.abs(bias.astype(np.float64)) / float(source)
        scale = np.maximum(scale, size / LARGEST_BIAS)
        scale[peak == 0] = size[peak == 0] / (1 << 20)
    scale = np.maximum(scale, np.finfo(np.float32).tiny)
    scale = np.where(scale * float(source) < np.finfo(np.float32).tiny, 1.0 / _ELEMENT.high, scale).astype(np.float32)
    along = scale.reshape(-1, *(1 for _ in weights.shape[1:]))
    q = np.empty(weights.shape, _ELEMENT.dtype)
    for rows in row_blocks(weights):
        steps = weights[rows] / along[rows]
        q[rows] = np.clip(np.rint(steps, out=steps), -_ELEMENT.high, _ELEMENT.high, out=steps)
    if bias is None:
        return q, scale, None
    bias_steps = np.rint(bias.astype(np.float64) / (float(source) * scale.astype(np.float64)))
    return q, scale, np.clip(bias_steps, -(2**31 - 1), 2**31 - 1).astype(np.int32)


def _copy(node):
    return type(node).FromString(node.SerializeToString())


def _set(field, values):
    del field[:]
    field.extend(values)
