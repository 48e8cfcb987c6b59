"""A quantized model to the quantized graph: its nodes, once, in order."""

from collections.abc import Callable

from onnx import ModelProto, NodeProto

from superlip.graph import ir
from superlip.graph.apart import Weights, whole
from superlip.graph.errors import ModelError, node_line
from superlip.graph.onnx.hostable import why_not_on_host
from superlip.graph.onnx.onnxtools import constant_value, name_nodes, operator, small_model
from superlip.graph.onnx.views import LAYOUT_OPS, View
from superlip.graph.session import open_session

from .float_ops import FLOAT_OPS
from .fuse import fuse_tables, remove_unused
from .host import on_host, ordered_by_host
from .importer import Importer
from .interpolation import interpolation, is_interpolation
from .layout import layout
from .model_input import join_inputs, take_inputs
from .qoperator_ops import QOPERATOR_OPS
from .quantization import dequantize, quantize
from .states import ByChannel, Pending, Unhostable, Unsupported

__all__ = ["import_model"]


def import_model(
    model: ModelProto,
    name: str,
    refused: dict[str, str] | None = None,
    hosted: dict[str, str] | None = None,
    weights: Weights | None = None,
) -> tuple[ir.Graph | None, Importer]:
    """Import a quantized model.

    Parameters
    ----------
    refused : dict of node name to str
        Why nodes are refused beforehand.
    hosted : dict of node name to str
        Why the host is to run nodes that look as if the accelerator could.
    weights : dict of str to ndarray
        Numbers of the constants that the model has by name only.

    Returns
    -------
    (ir.Graph or None, Importer)
        None where nodes are unsupported: the importer's ``unsupported`` says which.
    """
    importer = Importer(model, name, refused, hosted, weights)
    outputs = _run(importer)
    if importer.unsupported:
        return None, importer
    source, parts = join_inputs(importer)
    taken = next(iter(importer.inputs.values()))
    graph = ir.Graph(
        name=name,
        values=importer.values,
        nodes=importer.nodes,
        input=source,
        outputs=[value for _, value in outputs],
        model=whole(model, weights or {}),
        notes=list(importer.notes),
        onnx_input="" if parts else taken.name,
        onnx_input_shape=() if parts else taken.shape[1:],
        onnx_input_order=() if parts else taken.order,
        onnx_input_type=taken.dtype,
        parts=parts,
        onnx_outputs=[tensor for tensor, _ in outputs],
        onnx_output_shapes=importer.output_shapes,
        integer_outputs=frozenset(tensor for tensor, _ in outputs if tensor in importer.views),
    )
    fuse_tables(graph)
    remove_unused(graph)
    if not any(node.is_arithmetic for node in graph.nodes):
        raise ModelError(
            f"{name}: {_first_reason(importer)}no convolution, dense layer, pooling or addition was found to accelerate"
        )
    return graph, importer


def _first_reason(importer: Importer) -> str:
    """Why the first node that the accelerator might run does not run there, as the beginning of a sentence."""
    node = next((n for n in importer.model.graph.node if n.name in importer.hosted), None)
    return "" if node is None else f"{operator(node)} {node.name!r}: {importer.hosted[node.name]}; with it on the host "


def _run(importer: Importer) -> list[tuple[str, str]]:
    """Take all nodes: (tensor, value) of each output. Raises ModelError where the model as a whole is unusable."""
    graph = importer.model.graph
    name_nodes(graph)
    take_inputs(importer)
    for node in graph.node:
        try:
            _node(importer, node)
        except (Unsupported, ModelError) as error:
            _blame(importer, node, error)
    outputs = []
    for info in graph.output:
        if info.name in importer.poisoned:
            continue
        try:
            outputs.append((info.name, _output(importer, info.name)))
        except Unsupported as error:
            producer = importer.producers.get(info.name)
            if producer is None:
                raise ModelError(f"output {info.name!r}: {error}") from None
            _blame(importer, producer, error)
    for node in graph.node:  # those in floating point that nobody came to ask for
        if node.name not in importer.verdicts and any(i in importer.poisoned for i in node.input):
            _refuse(importer, node, "")
    return outputs


def _blame(importer: Importer, node: NodeProto, error: Exception) -> None:
    """Refuse the node that an error names, or the one at work, which then needs the other's result."""
    named = error.node if isinstance(error, Unsupported) else None
    culprit = node if named is None else importer.by_name.get(named, node)
    why, before = str(error), importer.hosted.get(culprit.name)
    if isinstance(error, Unhostable) and before is not None:
        why = f"{before}; nor does it run on the host: {why}"
    if _goes_on(importer, culprit, node, error):
        return
    _refuse(importer, culprit, why, is_final=isinstance(error, Unhostable))
    if culprit is not node:
        importer.verdicts[node.name] = ("unsupported", f"needs the result of {culprit.name!r}")
        importer.poisoned |= dict.fromkeys(node.output, culprit.name)


def _goes_on(importer: Importer, culprit: NodeProto, node: NodeProto, error: Exception) -> bool:
    """Go on as if the host ran ``culprit``, so that one import finds all that is to go there; whether that works.

    What was moved or dequantized of its results is taken again, and the node at work, too.
    """
    named = culprit.name
    if isinstance(error, Unhostable) or named in importer.hosted or named in importer.refused:
        return False
    if why_not_on_host(culprit) is not None or any(i in importer.poisoned for i in culprit.input):
        return False
    importer.hosted[named] = str(error)
    importer.unsupported.append((culprit, str(error)))
    importer.verdicts[named] = ("unsupported", str(error))
    order = importer.model.graph.node
    first, stale = next(i for i, n in enumerate(order) if n is culprit), set(culprit.output)
    again = []
    for later in order[first:]:
        moves = later.op_type in LAYOUT_OPS or later.op_type == "DequantizeLinear"
        if later is culprit or (moves and later.input[0] in stale and later is not node):
            stale.update(later.output)
            again.append(later)
        if later is node:
            break
    for name in stale:
        importer.views.pop(name, None)
        importer.floats.pop(name, None)
    try:
        for later in [*again[1:], node]:
            _node(importer, later)
    except (Unsupported, ModelError):
        return False
    return True


def _refuse(importer: Importer, node: NodeProto, why: str, *, is_final: bool = False) -> None:
    if any(i in importer.poisoned for i in node.input):
        first = next(importer.poisoned[i] for i in node.input if i in importer.poisoned)
        importer.verdicts.setdefault(node.name, ("unsupported", f"needs the result of {first!r}"))
    else:
        first = node.name
        if is_final:  # what the accelerator has against it was noted before
            importer.unhostable.add(node.name)
            importer.unsupported = [(other, text) for other, text in importer.unsupported if other is not node]
        if all(node is not other for other, _ in importer.unsupported):
            importer.unsupported.append((node, why))
            importer.verdicts[node.name] = ("unsupported", why)
    for output in node.output:
        importer.poisoned[output] = first


def _node(importer: Importer, node: NodeProto) -> None:
    """Take one node: what it makes is known when this returns, or it is the host's."""
    op = node.op_type
    if node.name in importer.refused:
        raise Unsupported(importer.refused[node.name])
    if op == "Constant":
        importer.consts[node.output[0]] = constant_value(node)
        return importer.done(node, "folded", "constant")
    if all(i in importer.consts for i in node.input if i) and op != "DequantizeLinear" and node.input:
        _fold(importer, node)
        return importer.done(node, "folded", "constant")
    if any(i in importer.poisoned for i in node.input):
        raise Unsupported("")
    if node.name in importer.hosted:
        return None
    if op == "DequantizeLinear":
        return dequantize(importer, node)
    if op == "QuantizeLinear":
        return quantize(importer, node)
    if op in QOPERATOR_OPS and node.input[0] not in importer.floats and not _is_float(importer, node):
        QOPERATOR_OPS[op](importer, node)
        return importer.done(node)
    if is_interpolation(node) and node.input[0] not in importer.views:
        return _float_op(importer, node, interpolation)
    if op in LAYOUT_OPS and (view := importer.view(node.input[0])) is not None:
        return layout(importer, node, view)
    if op in FLOAT_OPS:
        return _float_op(importer, node, FLOAT_OPS[op])
    return None


def _float_op(
    importer: Importer, node: NodeProto, function: Callable[[Importer, NodeProto], View | ByChannel | Pending | None]
) -> None:
    """Take a node of a float model; where its operands are none of ours, the host alone knows it, if anybody asks."""
    state = function(importer, node)
    if state is not None:
        importer.floats[node.output[0]] = state
        importer.done(node)


def _is_float(importer: Importer, node: NodeProto) -> bool:
    """Whether an operator that exists for floats and integers is used on floats here."""
    return node.op_type in FLOAT_OPS and not any(i in importer.views for i in node.input)


def _fold(importer: Importer, node: NodeProto) -> None:
    model = small_model(
        [node], [], [o for o in node.output if o], {i: importer.consts[i] for i in node.input if i},
        {"": 17} | importer.opsets,
    )  # fmt: skip
    try:
        results = open_session(model).run(None, {})
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise Unsupported(node_line(error, node)) from None
    importer.consts.update(zip([o for o in node.output if o], results, strict=True))


def _output(importer: Importer, name: str) -> str:
    view = importer.view(name)
    if view is None and name in importer.poisoned:
        raise Unsupported(f"needs the result of {importer.poisoned[name]!r}")
    if view is None:
        view = on_host(importer, name, None, name)
    importer.output_shapes[name] = tuple(view.shape)
    try:
        return importer.materialize(view)
    except Unsupported:
        if name in importer.views:
            raise
        return ordered_by_host(importer, view, name)
