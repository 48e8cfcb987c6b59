"""What the accelerator does not do: parts of the model as Host nodes, computed by ONNX Runtime."""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper

from superlip.graph import ir
from superlip.graph.errors import one_line
from superlip.graph.onnx.onnxtools import small_model, tensor_type
from superlip.graph.onnx.views import LAYOUT_OPS, View, image_shape
from superlip.graph.session import open_session

from .float_ops import FLOAT_OPS
from .importer import Importer
from .states import Params, Pending, Unsupported
from .weights import dequantized

__all__ = ["moved_by_host", "on_host"]

HOST_OPS = frozenset(
    [
        "Softmax",
        "LogSoftmax",
        "Hardmax",
        "LRN",
        "LpNormalization",
        "MeanVarianceNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "GroupNormalization",
        "QLinearSoftmax",
        "DequantizeLinear",
        "Cast",
    ]
)
"""Float operators that the host may compute between accelerated ones; behind the last of these it computes any."""


def on_host(importer: Importer, tensor: str, params: Params | None, output: str) -> View:
    """A Host node that gives ``tensor``: float where ``params`` is None, else quantized."""
    nodes, views, consts = _slice_back(importer, tensor)
    if params is not None:
        for node in nodes:
            _check_between(importer, node)
    reason = f"{', '.join(dict.fromkeys(n.op_type for n in nodes))} in floating point"
    for node in nodes:
        importer.verdicts[node.name] = ("host", f"{node.op_type} runs in floating point on the host")
    inputs: list[str] = []
    graph_inputs: list[tuple[str, int, list[int]]] = []
    head: list[NodeProto] = []
    initializers: dict[str, NDArray] = {}
    for position, (name, view) in enumerate(views.items()):
        raw = f"superlip_in{position}"
        is_int = name in importer.views
        real = f"superlip_real{position}" if is_int else name
        value, made, constants = _reals(importer, view, raw, real, view.shape)
        graph_inputs.append((raw, tensor_type(value.element.dtype), [1, *value.shape]))
        initializers |= constants
        head += made
        if is_int:  # an operator of the model's own integer type
            own = value.element.own_type(value.is_unsigned)
            initializers[f"{raw}_own"] = np.array(value.own_zero_point, own)
            head.append(helper.make_node("QuantizeLinear", [real, f"{raw}_scale", f"{raw}_own"], [name]))
        inputs.append(value.name)
    if not inputs:
        raise Unsupported(f"{tensor!r} does not depend on the image")
    shape, dtype = _host_shape(importer, head, nodes, graph_inputs, initializers | consts, tensor)
    image = image_shape(shape)
    tail = []
    last = tensor
    if params is not None:
        initializers |= {
            "superlip_out_scale": np.array(params.scale, np.float32),
            "superlip_out_zero": np.array(params.zero_point, params.element.dtype),
        }
        tail.append(
            helper.make_node(
                "QuantizeLinear", [tensor, "superlip_out_scale", "superlip_out_zero"], ["superlip_quantized"]
            )
        )
        last = "superlip_quantized"
    initializers["superlip_out_shape"] = np.array([1, *image], np.int64)
    tail.append(helper.make_node("Reshape", [last, "superlip_out_shape"], ["superlip_out"]))
    model = small_model(
        [*head, *nodes, *tail], graph_inputs, ["superlip_out"], initializers | consts, {"": 17} | importer.opsets
    )
    names = tuple(n.name for n in nodes)
    result = importer.unique(output)
    host = ir.Host(
        name=importer.unique_node(names[-1] if names else result), inputs=tuple(inputs), output=result,
        onnx_names=names, model=model, reason=reason,
    )  # fmt: skip
    importer.add(host, image, params or Params(np.float32(1), 0), is_float=params is None)
    if dtype not in (np.float32, np.float64) and params is None:
        importer.notes.append(f"output {tensor!r} is {dtype}")
    return View(result, tuple(shape))


def _check_between(importer: Importer, node: NodeProto) -> None:
    """Refuse a node that the host would run between accelerated operators and may not."""
    if node.op_type in HOST_OPS or node.op_type in LAYOUT_OPS or node.op_type == "Constant":
        return
    if isinstance(importer.floats.get(node.output[0]), Pending):
        return  # it could run; who takes its result in floating point could not
    makers = [importer.producers[i] for i in node.input if isinstance(importer.floats.get(i), Pending)]
    why = "not supported between accelerated operators"
    if makers:
        why = (
            f"it takes the result of {makers[0].op_type} {makers[0].name!r} in floating point; "
            f"put QuantizeLinear and DequantizeLinear between the two"
        )
    elif node.op_type in FLOAT_OPS:
        why = "not supported between accelerated operators with operands of this kind"
    raise Unsupported(why, node.name)


def _host_shape(
    importer: Importer,
    head: list[NodeProto],
    nodes: list[NodeProto],
    graph_inputs: list[tuple[str, int, list[int]]],
    initializers: dict[str, NDArray],
    tensor: str,
) -> tuple[tuple[int, ...], np.dtype]:
    model = small_model([*head, *nodes], graph_inputs, [tensor], initializers, {"": 17} | importer.opsets)
    try:
        feeds = {name: np.zeros(shape, importer.element.dtype) for name, _, shape in graph_inputs}
        result = open_session(model).run([tensor], feeds)[0]
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        raise Unsupported(f"ONNX Runtime cannot compute {tensor!r}: {one_line(error)}") from None
    return result.shape, result.dtype


def _slice_back(importer: Importer, tensor: str) -> tuple[list[NodeProto], dict[str, View], dict[str, NDArray]]:
    """Nodes that make ``tensor`` from views and constants, in the model's order."""
    wanted, stack = set(), [tensor]
    views: dict[str, View] = {}
    consts: dict[str, NDArray] = {}
    while stack:
        name = stack.pop()
        if not name or name in views or name in consts:
            continue
        view = importer.view(name)
        if name in importer.consts:
            consts[name] = importer.consts[name]
        elif name in importer.dq_consts:
            consts[name] = dequantized(importer.dq_consts[name])
        elif view is not None:
            views[name] = view
        elif name in importer.producers:
            producer = importer.producers[name]
            if producer.op_type == "QuantizeLinear":
                raise Unsupported(f"{name!r} is an integer tensor in the middle of float operators")
            if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in producer.attribute):
                raise Unsupported(f"{producer.op_type} {producer.name!r} has a subgraph")
            wanted.add(producer.name)
            stack.extend(producer.input)
        elif name == importer.input:
            raise Unsupported(f"the model's input {name!r} is used without being quantized")
        else:
            raise Unsupported(f"nothing gives {name!r}")
    return [n for n in importer.model.graph.node if n.name in wanted], views, consts


def _reals(
    importer: Importer, view: View, raw: str, real: str, shape: tuple[int, ...]
) -> tuple[ir.Value, list[NodeProto], dict[str, NDArray]]:
    """ONNX nodes by which the host gets what a view stands for, moved by them where the accelerator can't.

    Returns
    -------
    (ir.Value, list of NodeProto from its integer tensor ``raw`` to the float tensor ``real`` of ``shape``, constants)
    """
    index: NDArray | None = None
    try:
        value = importer.values[importer.materialize(view)]
    except Unsupported:
        value, index = importer.values[view.value], view.numbers().reshape(shape)
        importer.verdicts |= dict.fromkeys(
            view.moves, ("host", "the accelerator does not write this order of elements")
        )
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


def moved_by_host(importer: Importer, view: View, name: str) -> str:
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
