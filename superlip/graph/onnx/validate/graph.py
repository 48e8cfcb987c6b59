"""The graph of a model: of tensors alone, in order, with one image for its input."""

import graphlib

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TensorProto

from superlip.graph.errors import ModelError
from superlip.graph.onnx.batch import set_batch
from superlip.graph.onnx.input_shape import open_axes, shapes_text
from superlip.graph.onnx.onnxtools import label, static_shape

__all__ = ["check_kinds", "sort_nodes", "take_images"]

_DYNAMIC = frozenset(
    ["DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"]
)


def check_kinds(graph: GraphProto) -> None:
    """Only tensors, no control flow, nothing that is quantized while it runs."""
    for info in graph.input:
        if info.type.WhichOneof("value") not in ("tensor_type", None):
            raise ModelError(f"input {info.name!r} is no tensor: sequences, maps and optional values are not supported")
        if info.type.tensor_type.elem_type == TensorProto.STRING:
            raise ModelError(f"input {info.name!r} holds text: an image input holds numbers")
    for node in graph.node:
        if any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) or a.HasField("g") for a in node.attribute):
            raise ModelError(f"{label(node)} has a subgraph: control flow is not supported")
        if node.op_type in _DYNAMIC:
            raise ModelError(
                f"{label(node)}: dynamic quantization, which measures each image anew, is not supported; give the "
                f"float model, or one from onnxruntime.quantization.quantize_static"
            )


def sort_nodes(graph: GraphProto, name: str) -> None:
    """Nodes behind those whose results they take, in place; what is taken is given, and only once."""
    given = {tensor.name: "a constant" for tensor in graph.initializer} | {i.name: "an input" for i in graph.input}
    makers = {}
    for node in graph.node:
        for output in filter(None, node.output):
            if output in given or output in makers:
                first = label(makers[output]) if output in makers else given[output]
                raise ModelError(f"{label(node)} gives {output!r}, which {first} gives already")
            makers[output] = node
    for node in graph.node:
        missing = next((i for i in node.input if i and i not in makers and i not in given), None)
        if missing is not None:
            raise ModelError(f"{label(node)} takes {missing!r}, which nothing gives")
    outputs = [o.name for o in graph.output]
    for output in outputs:
        if output not in makers and output not in given:
            raise ModelError(f"output {output!r} of {name} is given by nothing")
        if outputs.count(output) > 1:
            raise ModelError(f"{name} has the output {output!r} more than once")
    if _is_sorted(graph, makers):
        return
    before = {node.name: [makers[i].name for i in node.input if i in makers] for node in graph.node}
    try:
        order = list(graphlib.TopologicalSorter(before).static_order())
    except graphlib.CycleError as error:
        raise ModelError(f"nodes take each other's results in a circle: {' > '.join(error.args[1])}") from None
    nodes = {node.name: node for node in graph.node}
    ordered = [onnx.NodeProto.FromString(nodes[n].SerializeToString()) for n in order]
    del graph.node[:]
    graph.node.extend(ordered)


def _is_sorted(graph, makers):
    seen = set()
    for node in graph.node:
        if any(i in makers and i not in seen for i in node.input):
            return False
        seen.update(node.output)
    return True


def take_images(model: ModelProto, name: str) -> None:
    """Inputs are images, of known sizes; their batch becomes 1, and those that are constants or unused go, in place."""
    graph = model.graph
    initializers = {i.name for i in graph.initializer}
    images = [i for i in graph.input if i.name not in initializers]
    used = {i for n in graph.node for i in n.input}
    images = [i for i in images if i.name in used] or images[:1]
    if not images:
        raise ModelError(f"{name} has no input: an image input is wanted")
    for info in images:
        _check_image(info)
    del graph.input[:]
    graph.input.extend(images)
    model.ir_version = max(model.ir_version, 4)  # before 4 every initializer had to be an input too
    set_batch(model)


def _check_image(info):
    shape = static_shape(info)
    if shape is None or len(shape) not in (2, 3, 4):
        rank = "no shape" if shape is None else f"shape {shape}"
        raise ModelError(f"input {info.name!r} has {rank}; an image input is (N, C, H, W), (N, C, L) or (N, F)")
    if still_open := open_axes(info):
        axes = f"ax{'is' if len(still_open) == 1 else 'es'} {', '.join(map(str, still_open))}"
        example = ",".join(str(d.dim_value) if d.dim_value > 0 else "SIZE" for d in info.type.tensor_type.shape.dim[1:])
        raise ModelError(
            f"input {info.name!r} has no fixed size along {axes} (shape {shapes_text(info)}): sizes must be known when "
            f"the accelerator is planned; choose them with --input-shape {info.name}=1,{example} (input_shape= in "
            f"Python), or export the model with a fixed image size"
        )
