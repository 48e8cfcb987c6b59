"""What the accelerator does not do: parts of the model as Host nodes, computed by ONNX Runtime.

An island of the model's nodes that the host runs between values of the quantized graph becomes one Host node for each
result that somebody takes: the accelerator, quantized, or an output, as it is. What two results share is a Host node of
its own, whose result stays on the host in the model's own numbers.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

from superlip.graph import ir
from superlip.graph.errors import one_line
from superlip.graph.onnx.hostable import why_not_on_host
from superlip.graph.onnx.onnxtools import small_model, tensor_type
from superlip.graph.onnx.views import LAYOUT_OPS, View, image_shape
from superlip.graph.session import open_session

from .importer import Importer
from .states import Hosted, Params, Pending, Unhostable, Unsupported
from .weights import dequantized

__all__ = ["integer_on_host", "is_of_host", "on_host", "ordered_by_host"]


@dataclass
class _Island:
    """Nodes in the model's order, and what they take: views, constants and what the host has made before."""

    nodes: list[NodeProto] = field(default_factory=list)
    views: dict[str, View] = field(default_factory=dict)
    consts: dict[str, NDArray] = field(default_factory=dict)
    hosted: dict[str, Hosted] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    """Results of its nodes that it is made of."""


def on_host(importer: Importer, tensor: str, params: Params | None, output: str) -> View:
    """A Host node that gives ``tensor``: as the model has it where ``params`` is None, else quantized."""
    tail = []
    initializers: dict[str, NDArray] = {}
    if params is not None:
        initializers = {
            "superlip_out_scale": np.array(params.scale, np.float32),
            "superlip_out_zero": np.array(params.zero_point, params.element.dtype),
        }
        operands = [tensor, "superlip_out_scale", "superlip_out_zero"]
        tail.append(helper.make_node("QuantizeLinear", operands, ["superlip_quantized"]))
    made = _host_node(importer, tensor, params, output, tail, initializers)
    if params is None and made.dtype not in (np.float32, np.float64):
        importer.notes.append(f"output {tensor!r} is {made.dtype}")
    return View(made.value, made.shape)


def integer_on_host(importer: Importer, tensor: str, params: Params) -> View:
    """A Host node that gives ``tensor``, integers of the model's own type, as ours."""
    kind = params.element.own_type(params.is_unsigned)
    own, ours = (
        np.array(params.zero_point + params.element.own_offset(params.is_unsigned), kind),
        np.array(params.zero_point, params.element.dtype),
    )
    constants = {"superlip_one": np.array(1, np.float32), "superlip_own": own, "superlip_ours": ours}
    tail = [
        helper.make_node("DequantizeLinear", [tensor, "superlip_one", "superlip_own"], ["superlip_steps"]),
        helper.make_node("QuantizeLinear", ["superlip_steps", "superlip_one", "superlip_ours"], ["superlip_quantized"]),
    ]
    made = _host_node(importer, tensor, params, tensor, tail, constants)
    importer.views[tensor] = View(made.value, made.shape)
    return importer.views[tensor]


def is_of_host(importer: Importer, tensor: str) -> bool:
    """Whether a tensor is integers that a node gives which was sent to the host, moved or not."""
    producer = importer.producers.get(tensor)
    while producer is not None and producer.name not in importer.hosted and producer.op_type in LAYOUT_OPS:
        producer = importer.producers.get(producer.input[0])
    return producer is not None and producer.name in importer.hosted


def _host_node(
    importer: Importer,
    tensor: str,
    params: Params | None,
    output: str,
    tail: list[NodeProto],
    initializers: dict[str, NDArray],
) -> Hosted:
    """A Host node of the island that gives ``tensor``, and of ``tail`` behind it."""
    for shared in _shared(importer, tensor):
        importer.hosted_values[shared] = _host_node(importer, shared, None, f"{shared}/host", [], {})
    island = _island_of(importer, tensor)
    head, graph_inputs, constants, inputs = _inputs_of(importer, island)
    if not inputs:
        raise Unhostable(f"{tensor!r} is a constant: it does not depend on the image", _maker(importer, tensor))
    initializers = initializers | constants | island.consts
    shape, dtype = _result_of(importer, island, head, graph_inputs, initializers, tensor)
    image = image_shape(shape)
    initializers["superlip_out_shape"] = np.array([1, *image], np.int64)
    last = tail[-1].output[0] if tail else tensor
    reshape = helper.make_node("Reshape", [last, "superlip_out_shape"], ["superlip_out"])
    model = small_model(
        [*head, *island.nodes, *tail, reshape], graph_inputs, ["superlip_out"], initializers,
        {"": 17} | importer.opsets,
    )  # fmt: skip
    names = tuple(n.name for n in island.nodes)
    for node in island.nodes:
        importer.verdicts[node.name] = ("host", _why(importer, node))
    result = importer.unique(output)
    host = ir.Host(
        name=importer.unique_node(names[-1] if names else result), inputs=tuple(inputs), output=result,
        onnx_names=names, model=model,
        reason=f"{', '.join(dict.fromkeys(n.op_type for n in island.nodes)) or 'QuantizeLinear'} in floating point",
    )  # fmt: skip
    importer.add(host, image, params or Params(np.float32(1), 0), is_float=params is None)
    importer.of_host.add(result)
    return Hosted(result, tuple(shape), np.dtype(dtype))


def _why(importer: Importer, node: NodeProto) -> str:
    """Why the host runs a node: the sentence of a report."""
    if node.name in importer.hosted:
        return importer.hosted[node.name]
    pending = [importer.producers[i] for i in node.input if isinstance(importer.floats.get(i), Pending)]
    if pending:
        return (
            f"it takes the result of {pending[0].op_type} {pending[0].name!r} in floating point, which "
            f"the accelerator has only behind QuantizeLinear and DequantizeLinear"
        )
    return f"{node.op_type} runs in floating point on the host"


def _maker(importer: Importer, tensor: str) -> str | None:
    return importer.producers[tensor].name if tensor in importer.producers else None


def _inputs_of(
    importer: Importer, island: _Island
) -> tuple[list[NodeProto], list[tuple[str, int, list[int]]], dict[str, NDArray], list[str]]:
    """Of an island's model: nodes that make what it takes of its inputs, the inputs, constants, and the values."""
    head: list[NodeProto] = []
    graph_inputs: list[tuple[str, int, list[int]]] = []
    constants: dict[str, NDArray] = {}
    inputs: dict[str, str] = {}  # by value: the input
    for position, (name, view) in enumerate(island.views.items()):
        raw = f"superlip_in{position}"
        is_int = name in importer.views
        real = f"{raw}_real" if is_int else name
        value, made, needed = _reals(importer, view, raw, real, view.shape)
        constants |= needed
        if value.name in inputs:
            head.append(helper.make_node("Identity", [inputs[value.name]], [raw]))
        else:
            graph_inputs.append((raw, tensor_type(value.element.dtype), [1, *value.shape]))
            inputs[value.name] = raw
        head += made
        if is_int:  # an operator of the model's own integer type
            own = value.element.own_type(value.is_unsigned)
            constants[f"{raw}_own"] = np.array(value.own_zero_point, own)
            head.append(helper.make_node("QuantizeLinear", [real, f"{raw}_scale", f"{raw}_own"], [name]))
    for position, (name, hosted) in enumerate(island.hosted.items(), len(island.views)):
        raw = f"superlip_in{position}"
        shape = importer.values[hosted.value].shape
        graph_inputs.append((raw, tensor_type(hosted.dtype), [1, *shape]))
        constants[f"{raw}_shape"] = np.array(hosted.shape, np.int64)
        head.append(helper.make_node("Reshape", [raw, f"{raw}_shape"], [name]))
        inputs[hosted.value] = raw
    return head, graph_inputs, constants, list(inputs)


def _result_of(
    importer: Importer,
    island: _Island,
    head: list[NodeProto],
    graph_inputs: list[tuple[str, int, list[int]]],
    initializers: dict[str, NDArray],
    tensor: str,
) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of what an island gives, run once on zeros."""
    model = small_model([*head, *island.nodes], graph_inputs, [tensor], initializers, {"": 17} | importer.opsets)
    try:
        feeds = {name: np.zeros(shape, helper.tensor_dtype_to_np_dtype(kind)) for name, kind, shape in graph_inputs}
        result = open_session(model, is_optimized=False).run([tensor], feeds)[0]
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        text = one_line(error)
        culprit = next((n.name for n in island.nodes if f"'{n.name}'" in text), _maker(importer, tensor))
        raise Unhostable(f"ONNX Runtime cannot compute {tensor!r}: {text}", culprit) from None
    if not isinstance(result, np.ndarray):
        raise Unhostable(f"{tensor!r} is no tensor", _maker(importer, tensor))
    return result.shape, result.dtype


def _island_of(importer: Importer, tensor: str) -> _Island:
    """Nodes that make ``tensor`` from views, constants and what the host has made."""
    island, wanted = _Island(), set()
    stack: list[tuple[str, str | None]] = [(tensor, _maker(importer, tensor))]  # with who takes it
    while stack:
        name, reader = stack.pop()
        if not name or name in island.views or name in island.consts or name in island.hosted:
            continue
        view = importer.view(name)
        if name in importer.consts:
            island.consts[name] = importer.consts[name]
        elif name in importer.dq_consts:
            island.consts[name] = dequantized(importer.dq_consts[name])
        elif view is not None:
            island.views[name] = view
        elif name in importer.hosted_values:
            island.hosted[name] = importer.hosted_values[name]
        elif name in importer.producers:
            producer = importer.producers[name]
            why = why_not_on_host(producer)
            if why is not None:
                raise Unhostable(why, producer.name)
            island.taken.add(name)
            if producer.name not in wanted:
                wanted.add(producer.name)
                stack.extend((taken, producer.name) for taken in producer.input)
        elif name in importer.inputs:
            raise Unhostable(f"the model's input {name!r} is used without being quantized", reader)
        else:
            raise Unhostable(f"nothing gives {name!r}", reader)
    given = island.views.keys() | island.hosted.keys()
    island.nodes = [_without_results(n, given) for n in importer.model.graph.node if n.name in wanted]
    return island


def _without_results(node: NodeProto, given: Collection[str]) -> NodeProto:
    """A node, or a copy whose results among ``given``, which are there already, have other names."""
    if not any(name in given for name in node.output):
        return node
    copy = type(node).FromString(node.SerializeToString())
    copy.output[:] = [f"{name}/again" if name in given else name for name in node.output]
    return copy


def _shared(importer: Importer, tensor: str) -> list[str]:
    """Tensors inside of the island of ``tensor`` that others than its nodes take, too: the host keeps them."""
    island = _island_of(importer, tensor)
    inside = {n.name for n in island.nodes}
    outputs = {o.name for o in importer.model.graph.output}
    found = []
    for node in island.nodes:
        for name in filter(None, node.output):
            readers = [n for n in importer.readers.get(name, ()) if n.name not in inside and _is_open(importer, n)]
            if name in island.taken - {tensor} and (readers or name in outputs):
                found.append(name)
    return found


def _is_open(importer: Importer, node: NodeProto) -> bool:
    """Whether somebody may still ask for a node's result on the host: it is no constant, and no value yet."""
    return not all(o in importer.consts or importer.view(o) is not None for o in node.output if o)


def _reals(
    importer: Importer, view: View, raw: str, real: str, shape: tuple[int, ...]
) -> tuple[ir.Value, list[NodeProto], dict[str, NDArray]]:
    """ONNX nodes by which the host gets what a view stands for, moved by them where the accelerator can't.

    Returns
    -------
    (ir.Value, list of NodeProto from its integer tensor ``raw`` to the float tensor ``real`` of ``shape``, constants)
    """
    index: NDArray | None = None
    of_host = view.value in importer.of_host
    try:
        if of_host and not _is_in_order(importer, view):
            raise Unsupported("it moves what the host made")
        value = importer.values[view.value if _is_in_order(importer, view) else importer.materialize(view)]
    except Unsupported as error:
        value, index = importer.values[view.value], view.numbers().reshape(shape)
        why = str(error) if of_host else "the accelerator does not write this order of elements"
        importer.verdicts |= dict.fromkeys(view.moves, ("host", why))
    constants = {
        f"{raw}_scale": np.array(value.scale, np.float32),
        f"{raw}_zero": np.array(value.zero_point, value.element.dtype),
        f"{raw}_shape": np.array(shape if index is None else [-1], np.int64),
    }
    flat = real if index is None else f"{raw}_flat"
    nodes = [
        helper.make_node("DequantizeLinear", [raw, f"{raw}_scale", f"{raw}_zero"], [f"{raw}_image"]),
        helper.make_node("Reshape", [f"{raw}_image", f"{raw}_shape"], [flat]),
    ]
    if index is not None:  # -1 is the last one, what Pad added
        fill = ((view.fill or 0) - value.zero_point) * np.float32(value.scale)
        constants |= {f"{raw}_fill": np.array([fill], np.float32), f"{raw}_index": index}
        nodes += [
            helper.make_node("Concat", [flat, f"{raw}_fill"], [f"{raw}_numbers"], axis=0),
            helper.make_node("Gather", [f"{raw}_numbers", f"{raw}_index"], [real]),
        ]
    return value, nodes, constants


def _is_in_order(importer: Importer, view: View) -> bool:
    """Whether a view holds all elements of its value in their order, whatever its shape."""
    numbers = view.numbers().reshape(-1)
    count = int(np.prod(importer.values[view.value].shape))
    return numbers.size == count and np.array_equal(numbers, np.arange(count))


def ordered_by_host(importer: Importer, view: View, name: str) -> str:
    """Host node that gives a float output whose elements stand in an order that the accelerator does not write."""
    image = image_shape(view.shape)
    value, nodes, constants = _reals(importer, view, "image", "moved", (1, *image))
    source = ("image", tensor_type(value.element.dtype), [1, *value.shape])
    model = small_model(nodes, [source], ["moved"], constants, {"": 17})
    output = importer.unique(name)
    why = "the order of an output's elements"
    importer.verdicts |= dict.fromkeys(view.moves, ("host", f"it gives {why}"))
    node = ir.Host(
        name=importer.unique_node(view.moves[-1]), inputs=(value.name,), output=output, onnx_names=view.moves,
        model=model, reason=why,
    )  # fmt: skip
    return importer.add(node, image, Params(np.float32(1), 0), is_float=True)
