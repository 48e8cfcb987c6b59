"""A float model made ready for quantization: constants folded, what has no operator of integers rewritten.

``prepare`` changes the model so that what is left are operators that ONNX Runtime's quantizer and the hardware both
have. It remembers for every node of the original what became of it.
"""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from superlip.graph.apart import Weights, tensors_of
from superlip.graph.errors import ModelError, node_line
from superlip.graph.session import open_session

from .channels_first import put_channels_first
from .functions import BOOLEAN, ELEMENTWISE, affine_factors, norm_factors
from .onnxtools import attributes, constant_value, initializers, name_nodes, opset, shapes, small_model
from .pointwise import pointwise
from .precise import scaled
from .transposed import block_convolution

__all__ = ["Prepared", "prepare", "turn_quantized"]


class Prepared:
    """A float model under rewriting.

    ``fate`` is a dict of original node name to (verdict, why); nodes that survive are not in it. ``taken_in`` is the
    same of those that others take in when it is quantized. ``between`` are the names of those that compute in floating
    point between DequantizeLinear and QuantizeLinear, as far as the quantization knows. ``functions`` are lists of
    nodes, in order, that the importer turns into one table: nothing is rounded between them.
    """

    def __init__(self, model: ModelProto, weights: Weights | None = None) -> None:
        self.model = model
        self.graph = model.graph
        self.opsets = opset(model)
        name_nodes(self.graph)
        self.fate: dict[str, tuple[str, str]] = {}
        self.taken_in: dict[str, tuple[str, str]] = {}
        self.between: set[str] = set()
        self.functions: list[list[NodeProto]] = []
        self.notes: list[str] = []
        self.randomized: tuple[bytes, Weights] | None = None  # with made-up weights, before anything else is rewritten
        self.consts: dict[str, NDArray] = initializers(self.graph, weights)
        self.outputs = {o.name for o in self.graph.output}
        self.inputs = {i.name for i in self.graph.input} - self.consts.keys()
        self.shapes = shapes(model)
        self.nodes = list(self.graph.node)

    # ---- bookkeeping

    def users(self) -> dict[str, list[NodeProto]]:
        """Nodes that take a tensor, by its name."""
        found: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                found.setdefault(name, []).append(node)
        return found

    def makers(self) -> dict[str, NodeProto]:
        return {o: n for n in self.nodes for o in n.output if o}

    def remove(self, node: NodeProto, verdict: str, why: str) -> None:
        self.nodes = [n for n in self.nodes if n is not node]
        self.fate[node.name] = (verdict, why)

    def replace(self, node: NodeProto, new: list[NodeProto], why: str) -> None:
        """Put ``new`` nodes in a node's place; the last of them keeps its name."""
        position = next(i for i, n in enumerate(self.nodes) if n is node)
        new[-1].name = node.name
        for i, n in enumerate(new[:-1]):
            n.name = f"{node.name}/{n.op_type.lower()}{i}"
        self.nodes[position : position + 1] = new
        self.fate[node.name] = ("rewritten", why)

    def constant(self, base: str, array: NDArray) -> str:
        """Add a constant under a new name."""
        taken = self.consts.keys() | self.shapes.keys()
        name = (
            base
            if base not in taken
            else next(f"{base}.{i}" for i in range(len(taken) + 1) if f"{base}.{i}" not in taken)
        )
        self.consts[name] = np.ascontiguousarray(array)
        self.shapes[name] = self.consts[name].shape
        return name

    def rename(self, old: str, new: str) -> None:
        """Let every user of tensor ``old`` take ``new``."""
        for node in self.nodes:
            for i, name in enumerate(node.input):
                if name == old:
                    node.input[i] = new

    def finish(self) -> None:
        """The model with the rewritten nodes, in place; constants that nothing takes any more are forgotten."""
        used = {name for node in self.nodes for name in node.input} | self.outputs
        self.consts = {name: array for name, array in self.consts.items() if name in used}
        self.model = self.with_nodes(self.nodes, self.consts, {})
        self.graph = self.model.graph

    def with_nodes(
        self, nodes: Iterable[NodeProto], constants: Mapping[str, ArrayLike], domains: dict[str, int]
    ) -> ModelProto:
        """A model of the same inputs and outputs with these nodes, and opset imports of more domains.

        It has large constants by name only: ``constants`` has their numbers (``apart.py``).
        """
        model = onnx.ModelProto(ir_version=max(self.model.ir_version, 8), producer_name="superlip")
        model.opset_import.extend(helper.make_opsetid(d, v) for d, v in ({"": 17} | self.opsets | domains).items())
        model.graph.name = self.graph.name
        model.graph.node.extend(nodes)
        model.graph.initializer.extend(tensors_of(constants))
        model.graph.input.extend(i for i in self.graph.input if i.name in self.inputs)
        model.graph.output.extend(onnx.ValueInfoProto(name=o.name) for o in self.graph.output)
        return model

    # ---- passes

    def fold_constants(self) -> None:
        """Nodes whose operands are all constant, Shape of a static tensor, Identity and Dropout."""
        for node in list(self.nodes):
            outputs = [o for o in node.output if o]
            if node.op_type == "Constant":
                self.consts[node.output[0]] = constant_value(node)
            elif node.op_type == "Shape" and node.input[0] in self.shapes and "start" not in attributes(node):
                self.consts[node.output[0]] = np.array(self.shapes[node.input[0]], np.int64)
            elif node.op_type in ("Identity", "Dropout") and node.input[0] not in self.consts:
                if node.output[0] in self.outputs or any(self.users().get(o) for o in outputs[1:]):
                    continue
                self.rename(node.output[0], node.input[0])
            elif node.input and all(i in self.consts for i in node.input if i):
                if any(o in self.outputs for o in outputs):
                    continue
                for name, array in zip(outputs, self._evaluate(node, outputs), strict=True):
                    self.consts[name] = array
            else:
                continue
            for name in outputs:
                if name in self.consts:
                    self.shapes[name] = self.consts[name].shape
            self.remove(
                node, "folded", "constant" if outputs and outputs[0] in self.consts else "no effect at inference"
            )

    def _evaluate(self, node, outputs):
        if node.op_type == "ConstantOfShape":  # 800 of them in one DenseNet: no session for each
            value = attributes(node).get("value")
            number = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
            return [np.full(self.consts[node.input[0]].astype(np.int64), number.reshape(-1)[0], number.dtype)]
        if node.op_type in ("Unsqueeze", "Squeeze", "Reshape", "Flatten"):
            model = small_model([node], [], outputs, {i: self.consts[i] for i in node.input if i}, self.opsets)
            return ReferenceEvaluator(onnx.load_from_string(model)).run(None, {})
        model = small_model([node], [], outputs, {i: self.consts[i] for i in node.input if i}, self.opsets)
        try:
            return open_session(model).run(None, {})
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise ModelError(f"{node.op_type} {node.name!r}: {node_line(error, node)}") from None

    def simplify(self) -> None:
        """Operators with another, better supported spelling."""
        for node in list(self.nodes):
            function = _SIMPLER.get(node.op_type)
            if function is not None:
                function(self, node)

    def find_functions(self) -> None:
        """Element-wise functions of one tensor: x * sigmoid(x) is one table, not three."""
        users = self.users()
        roots = {}  # tensor -> (root tensor, nodes) where it is such a function
        for node in self.nodes:
            if node.op_type not in ELEMENTWISE | BOOLEAN:
                continue
            found, members = set(), []
            for name in node.input:
                if not name or (name in self.consts and self.consts[name].size == 1):
                    continue
                if name in roots and len(users[name]) == 1 and name not in self.outputs:
                    found.add(roots[name][0])
                    members += roots[name][1]
                else:
                    found.add(name)
            if len(found) == 1 and not any(n in self.consts for n in found):
                unique = list({n.name: n for n in [*members, node]}.values())
                roots[node.output[0]] = (found.pop(), unique)
        inner = {n.name for _, members in roots.values() for n in members[:-1]}
        for _, members in roots.values():
            if members[-1].name in inner or members[-1].op_type in BOOLEAN or self._is_affine(members):
                continue
            function = self._without_clips_in_front(members, users)
            if len(function) > 1 or function[0].op_type not in ("Relu", "Clip", "LeakyRelu", "Sigmoid"):
                self.functions.append(function)
        self.in_functions = {n.name for members in self.functions for n in members}

    def _without_clips_in_front(self, members, users):
        """A function from behind the Relu and Clip that the operator before it takes in."""
        while members[0].op_type in ("Relu", "Clip") and len(members) > 1:
            source = members[0].input[0]
            if len(users[source]) > 1 or source in self.outputs:
                break
            members = members[1:]
        return members

    def _is_affine(self, members):
        """Only additions and products with constants: those fold into convolutions."""
        return all(
            n.op_type in ("Add", "Sub", "Mul", "Div") and any(i in self.consts for i in n.input) for n in members
        )

    def fold_affine(self) -> None:
        """BatchNormalization and per-channel Mul, Add, Sub, Div into the Conv or Gemm before them, or as 1x1 Convs."""
        for node in list(self.nodes):
            if node.name in self.in_functions:
                continue
            affine = self._affine(node)
            if affine is None:
                continue
            source, scale, shift = affine
            maker = self.makers().get(source)
            shared = len(self.users().get(source, ())) > 1 or source in self.outputs
            if maker is not None and not shared and self._fold_into(maker, scale, shift):
                maker.output[0] = node.output[0]
                self.remove(node, "folded", f"into the weights of {maker.op_type} {maker.name!r}")
            elif len(self.shapes.get(source, ())) == 4:
                channels = self.shapes[source][1]
                weights = self.constant(f"{node.name}/weights", by_channel(scale, channels).reshape(-1, 1, 1, 1))
                bias = self.constant(f"{node.name}/bias", by_channel(shift, channels))
                conv = helper.make_node(
                    "Conv", [source, weights, bias], [node.output[0]], group=channels, kernel_shape=[1, 1]
                )
                self.replace(node, [conv], "as a 1x1 convolution of each channel")

    def _affine(self, node):
        """(operand, scale, shift), per channel, where a node computes operand * scale + shift."""
        if node.op_type == "BatchNormalization":
            params = [self.consts[i] for i in node.input[1:5] if i in self.consts]
            if len(params) < len(node.input[1:5]) or (len(node.output) > 1 and node.output[1]):
                return None
            gamma, beta, mean, variance = params
            return node.input[0], *norm_factors(gamma, beta, mean, variance, attributes(node).get("epsilon", 1e-5))
        constant = [i for i, name in enumerate(node.input) if name in self.consts]
        if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(constant) != 1:
            return None
        value = self.consts[node.input[constant[0]]]
        source = node.input[1 - constant[0]]
        rank = len(self.shapes.get(source, ()))
        if value.dtype != np.float32 or not rank:
            return None
        factors = affine_factors(node.op_type, value, rank, constant[0] == 0)
        return None if factors is None else (source, *factors)

    def _fold_into(self, maker, scale, shift):
        if maker.op_type not in ("Conv", "Gemm") or maker.input[1] not in self.consts:
            return False
        weights = self.consts[maker.input[1]]
        given = attributes(maker)
        if maker.op_type == "Gemm" and not given.get("transB", 0):
            return False
        m = len(weights)
        if scale.size not in (1, m) or shift.size not in (1, m):
            return False
        has_bias = len(maker.input) > 2 and maker.input[2]
        if has_bias and maker.input[2] not in self.consts:
            return False
        bias = self.consts[maker.input[2]].reshape(-1) if has_bias else np.zeros(m, np.float32)
        scale, shift = (np.broadcast_to(a.astype(np.float64), (m,)) for a in (scale, shift))
        names = (
            self.constant(f"{maker.name}/weights", scaled(weights, scale.reshape(-1, *([1] * (weights.ndim - 1))))),
            self.constant(f"{maker.name}/bias", (bias * scale + shift).astype(np.float32)),
        )
        operands = [maker.input[0], *names]
        del maker.input[:]
        maker.input.extend(operands)
        return True

    def fold_pads(self) -> None:
        """Zero padding in front of a Conv into the Conv."""
        for node in list(self.nodes):
            if node.op_type != "Pad" or node.output[0] in self.outputs:
                continue
            users = self.users().get(node.output[0], [])
            pads = self._zero_pads(node)
            if pads is None or len(users) != 1 or users[0].op_type != "Conv" or users[0].input[0] != node.output[0]:
                continue
            conv = users[0]
            given = attributes(conv)
            if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
                continue
            half = len(pads) // 2
            own = given.get("pads", [0] * (2 * (half - 2)))
            total = [a + b for a, b in zip(own, pads[2:half] + pads[half + 2 :], strict=True)]
            kept = [a for a in conv.attribute if a.name not in ("pads", "auto_pad")]
            del conv.attribute[:]
            conv.attribute.extend([*kept, helper.make_attribute("pads", total)])
            conv.input[0] = node.input[0]
            self.remove(node, "folded", f"into the padding of Conv {conv.name!r}")

    def _zero_pads(self, node):
        given = attributes(node)
        if given.get("mode", b"constant") != b"constant" or (len(node.input) > 3 and node.input[3]):
            return None
        pads = given.get("pads") or self.consts.get(node.input[1] if len(node.input) > 1 else "")
        value = given.get("value", 0.0)
        if len(node.input) > 2 and node.input[2]:
            value = self.consts.get(node.input[2])
        if pads is None or value is None or float(np.reshape(value, ())) != 0.0:
            return None
        pads = [int(p) for p in pads]
        half = len(pads) // 2
        return pads if half >= 3 and not any(pads[:2] + pads[half : half + 2]) and min(pads) >= 0 else None


def by_channel(array: NDArray, channels: int) -> NDArray[np.float32]:
    """float32, shape (channels,), of one number or one a channel."""
    return np.broadcast_to(np.asarray(array, np.float32), (channels,))


def _sum(state, node):
    """Sum of n tensors as n - 1 additions."""
    if len(node.input) == 1:
        new = [helper.make_node("Identity", list(node.input), list(node.output))]
    else:
        new, left = [], node.input[0]
        for i, right in enumerate(node.input[1:]):
            last = i == len(node.input) - 2
            result = node.output[0] if last else f"{node.output[0]}/sum{i}"
            new.append(helper.make_node("Add", [left, right], [result]))
            if not last:
                state.shapes[result] = state.shapes.get(node.output[0], ())
            left = result
    state.replace(node, new, "as additions of two tensors")


def _reduce_mean(state, node):
    """Mean over rows and columns as GlobalAveragePool."""
    given = attributes(node)
    axes = given.get("axes")
    if axes is None and len(node.input) > 1:
        axes = state.consts.get(node.input[1])
    shape = state.shapes.get(node.input[0], ())
    if axes is None or len(shape) != 4 or sorted(int(a) % 4 for a in axes) != [2, 3]:
        return
    if given.get("keepdims", 1):
        new = [helper.make_node("GlobalAveragePool", [node.input[0]], [node.output[0]])]
    else:
        inner = f"{node.output[0]}/mean"
        state.shapes[inner] = (*shape[:2], 1, 1)
        new = [
            helper.make_node("GlobalAveragePool", [node.input[0]], [inner]),
            helper.make_node("Flatten", [inner], [node.output[0]], axis=1),
        ]
    state.replace(node, new, "as GlobalAveragePool")


def _gemm(state, node):
    """Gemm with constant B as Gemm with transB and without factors: one row of weights an output."""
    given = attributes(node)
    weights = state.consts.get(node.input[1])
    if weights is None or given.get("transA", 0) or weights.ndim != 2:
        return
    alpha, beta = given.get("alpha", 1.0), given.get("beta", 1.0)
    has_bias = len(node.input) > 2 and bool(node.input[2])
    if has_bias and node.input[2] not in state.consts:
        return
    plain = given.get("transB", 0) and alpha == 1.0 and beta == 1.0
    bias = state.consts[node.input[2]] if has_bias else None
    if bias is None or bias.size in (1, weights.shape[0 if given.get("transB", 0) else 1]):
        rows = (weights if given.get("transB", 0) else weights.T) * np.float32(alpha)
        if _as_pointwise(state, node, rows, None if bias is None else bias * np.float32(beta), node.output[0]):
            return
    if plain and (bias is None or bias.shape == (len(weights),)):
        return
    matrix = (weights if given.get("transB", 0) else weights.T) * np.float32(alpha)
    operands = [node.input[0], state.constant(f"{node.name}/weights", matrix.astype(np.float32))]
    if bias is not None:
        if bias.size not in (1, len(matrix)):
            return
        vector = np.broadcast_to(bias.reshape(-1) * np.float32(beta), (len(matrix),))
        operands.append(state.constant(f"{node.name}/bias", vector.astype(np.float32)))
    state.replace(node, [helper.make_node("Gemm", operands, [node.output[0]], transB=1)], "as a dense layer")


def _matmul(state, node):
    """MatMul of one vector by a constant matrix, and the constant added to it, as Gemm."""
    weights = state.consts.get(node.input[1])
    shape = state.shapes.get(node.input[0], ())
    if weights is None or weights.ndim != 2 or len(shape) < 2:
        return
    is_vector = len(shape) == 2
    users = state.users().get(node.output[0], [])
    output, vector, added = node.output[0], None, None
    if len(users) == 1 and users[0].op_type == "Add" and output not in state.outputs:
        other = [i for i in users[0].input if i != output]
        bias = state.consts.get(other[0]) if other else None
        if bias is not None and _is_by_output(bias, shape, weights.shape[1]):
            vector, added = np.broadcast_to(bias.reshape(-1), (weights.shape[1],)), users[0]
            output = added.output[0]
    if not _as_pointwise(state, node, weights.T, vector, output):
        if not is_vector:
            return
        operands = [node.input[0], state.constant(f"{node.name}/weights", weights.T)]
        if vector is not None:
            operands.append(state.constant(f"{node.name}/bias", vector))
        state.replace(node, [helper.make_node("Gemm", operands, [output], transB=1)], "as a dense layer")
    if added is not None:
        state.remove(added, "folded", f"into the bias of MatMul {node.name!r}")


def _is_by_output(bias, shape, outputs):
    """Whether a constant added to a product of a tensor of ``shape`` is one number, or one for each of the outputs."""
    fits = bias.ndim <= len(shape) and bias.shape[-1:] in ((), (1,), (outputs,))
    return fits and bias.size in (1, outputs) and bias.dtype == np.float32


def _as_pointwise(state, node, weights, bias, output):
    """A product of many rows as a convolution; whether there was enough to multiply."""
    shape = state.shapes.get(node.input[0], ())
    if len(shape) < 2 or node.input[0] in state.consts:
        return False
    vector = None if bias is None else np.broadcast_to(bias.reshape(-1), (len(weights),)).astype(np.float32)
    rows = np.ascontiguousarray(weights, np.float32)
    new = pointwise(state, node.name, node.input[0], shape, rows, vector, output)
    if new is None:
        return False
    state.replace(node, new, "as a convolution of 1 x 1, its rows as pixels")
    return True


def _prelu(state, node):
    """PRelu with one slope as LeakyRelu."""
    slope = state.consts.get(node.input[1])
    if slope is not None and slope.size and (slope == slope.reshape(-1)[0]).all():
        alpha = float(slope.reshape(-1)[0])
        new = helper.make_node("LeakyRelu", [node.input[0]], [node.output[0]], alpha=alpha)
        state.replace(node, [new], "as LeakyRelu")


def _conv_transpose(state, node):
    """ConvTranspose, and the factors of a channel behind it, as Conv and DepthToSpace."""
    weights, shape = state.consts.get(node.input[1]), state.shapes.get(node.input[0], ())
    has_bias = len(node.input) > 2 and bool(node.input[2])
    if weights is None or len(shape) != 4 or (has_bias and node.input[2] not in state.consts):
        return
    given = attributes(node)
    groups = int(given.get("group", 1))
    channels = weights.shape[1] * groups
    scale = np.ones(channels)
    shift = np.array(state.consts[node.input[2]] if has_bias else np.zeros(channels), np.float64).reshape(-1)
    found = block_convolution(weights, given, shape[2:])
    if found is None or shift.size != channels:
        return
    output = node.output[0]
    while len(state.users().get(output, ())) == 1 and output not in state.outputs:
        (user,) = state.users()[output]
        factors = state._affine(user)
        if factors is None or factors[0] != output:
            break
        scale, shift = scale * factors[1], shift * factors[1] + factors[2]
        state.remove(user, "folded", f"into the weights of ConvTranspose {node.name!r}")
        output = user.output[0]
    count = found.block**2
    scaled = found.weights * np.repeat(by_channel(scale, channels), count).reshape(-1, 1, 1, 1)
    operands = [
        node.input[0],
        state.constant(f"{node.name}/weights", scaled.astype(np.float32)),
        state.constant(f"{node.name}/bias", np.repeat(by_channel(shift, channels), count).astype(np.float32)),
    ]
    inner = output if found.block == 1 else f"{node.output[0]}/blocks"
    new = [
        helper.make_node(
            "Conv", operands, [inner], group=groups, kernel_shape=list(found.weights.shape[2:]), pads=list(found.pads)
        )
    ]
    if found.block > 1:
        is_whole = all(size % found.block == 0 for size in found.size)
        moved = output if is_whole else f"{node.output[0]}/whole"
        new.append(helper.make_node("DepthToSpace", [inner], [moved], blocksize=found.block, mode="CRD"))
        if not is_whole:
            ends = {"starts": [0, 0], "ends": list(found.size), "axes": [2, 3]}
            bounds = [state.constant(f"{node.name}/{name}", np.array(n, np.int64)) for name, n in ends.items()]
            new.append(helper.make_node("Slice", [moved, *bounds], [output]))
    state.replace(node, new, "as a convolution of blocks of pixels")


_SIMPLER = {
    "Sum": _sum, "ReduceMean": _reduce_mean, "Gemm": _gemm, "MatMul": _matmul, "PRelu": _prelu,
    "ConvTranspose": _conv_transpose,
}  # fmt: skip


def prepare(
    model: ModelProto,
    *,
    randomize: Callable[[Prepared], bool] | None = None,
    weights: Weights | None = None,
) -> Prepared:
    """Rewrite a float model in place.

    Parameters
    ----------
    model : ModelProto
        With static shapes.
    weights : dict of str to ndarray, optional
        Numbers of the constants that the model has by name only.
    randomize : function of (Prepared) or None
        Called when constants are folded, before weights are used.

    Returns
    -------
    Prepared
        Its ``model`` is the rewritten one.
    """
    state = Prepared(model, weights)
    state.fold_constants()
    if randomize is not None and randomize(state):
        state.randomized = state.with_nodes(state.nodes, state.consts, {}).SerializeToString(), dict(state.consts)
    put_channels_first(state)
    state.simplify()
    state.find_functions()
    state.fold_affine()
    state.fold_pads()
    state.finish()
    return state


def turn_quantized(model: ModelProto, weights: Weights) -> tuple[ModelProto, Weights, dict[str, tuple[str, str]]]:
    """A quantized model with channels first where that leaves fewer Transposes (``channels_first.py``).

    Parameters
    ----------
    model : ModelProto
    weights : dict of str to ndarray
        Numbers of the constants that it has by name only.

    Returns
    -------
    (ModelProto, its weights, dict of str to (verdict, why): what became of the nodes that are gone)
    """
    if all(node.op_type != "Transpose" for node in model.graph.node):
        return model, weights, {}
    state = Prepared(model, weights)
    for node in list(state.nodes):
        if node.op_type == "Constant":
            state.consts[node.output[0]] = constant_value(node)
            state.shapes[node.output[0]] = state.consts[node.output[0]].shape
            state.remove(node, "folded", "constant")
    if not put_channels_first(state):
        return model, weights, {}
    state.finish()
    return state.model, state.consts, state.fate
