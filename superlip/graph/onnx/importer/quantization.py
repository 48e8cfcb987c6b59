"""DequantizeLinear and QuantizeLinear: the one tells what a tensor stands for, the other makes what is pending."""

import numpy as np
from onnx import NodeProto

from superlip.graph.errors import ModelError
from superlip.graph.onnx.onnxtools import attributes
from superlip.graph.onnx.views import LAYOUT_OPS, View

from . import emit, pools
from .host import integer_on_host, is_of_host, on_host
from .importer import Importer
from .interpolation import is_interpolation
from .layout import moved
from .model_input import input_view, set_input
from .states import ByChannel, Params, Pending, Unsupported
from .weights import Quantized

__all__ = ["dequantize", "quantize"]


def dequantize(importer: Importer, node: NodeProto) -> None:
    """Give DequantizeLinear's result the view, or the constant, that its operand is."""
    source, output = node.input[0], node.output[0]
    importer.done(node, "folded", "scale and zero point")
    if source in importer.consts:
        importer.dq_consts[output] = _quantized_constant(importer, node)
        return
    view = importer.views.get(source)
    if view is None and is_of_host(importer, source):
        params = importer.params_taken(node, is_unsigned=_is_unsigned(importer, node))
        view = integer_on_host(importer, source, params)
    if view is None:
        return  # of an operator that the host runs on integers, such as QLinearSoftmax
    params = importer.params_taken(node, importer.params_of(view).is_unsigned)
    if not params.by_channel:
        importer.floats[output] = importer.reinterpret(view, params, output, (node.name,))
    elif _is_along_channels(importer, node, view, params):
        scales = np.array(params.by_channel, np.float32)
        importer.floats[output] = ByChannel(view, scales)


def _is_along_channels(importer: Importer, node: NodeProto, view: View, params: Params) -> bool:
    """Whether there is a scale for each channel of an image as it lies, and its zero point is that of its integers."""
    rank, channels = len(view.shape), importer.values[view.value].shape[0]
    is_image = rank in (3, 4) and attributes(node).get("axis", 1) % rank == 1 and view.index is None
    same = (params.zero_point, params.is_unsigned)
    taken = importer.params_of(view)
    return is_image and len(params.by_channel) == channels and same == (taken.zero_point, taken.is_unsigned)


def _is_unsigned(importer: Importer, node: NodeProto) -> bool:
    """Whether a DequantizeLinear takes unsigned integers: what its zero point is, or what gives them says."""
    zero_point = importer.const(node.input[2]) if len(node.input) > 2 else None
    if zero_point is not None:
        return zero_point.dtype.kind == "u"
    maker = importer.producers.get(node.input[0])
    while maker is not None and maker.op_type in LAYOUT_OPS:
        maker = importer.producers.get(maker.input[0])
    is_made = maker is not None and maker.op_type == "QuantizeLinear"
    return not is_made or importer.params_made(maker, by_channel=True).is_unsigned


def _quantized_constant(importer: Importer, node: NodeProto) -> Quantized:
    """The constant that a DequantizeLinear takes."""
    integers, scale = importer.consts[node.input[0]], importer.const(node.input[1])
    zero_point = node.input[2] if len(node.input) > 2 else ""
    zero, axis = importer.const(zero_point), attributes(node).get("axis", 1)
    if scale is None or (zero_point and zero is None):
        raise Unsupported("the scale and zero point of a constant must be constants")
    if integers.dtype.kind not in "iu" and not integers.dtype.name.startswith(("int", "uint")):
        raise Unsupported(f"constants must be integers, not {integers.dtype}; quantize weights to {importer.element}")
    if scale.dtype != np.float32:
        raise Unsupported(f"the scale of a constant must be float32, not {scale.dtype}; export as float32")
    if scale.size > 1 and (scale.ndim != 1 or not -integers.ndim <= axis < integers.ndim):
        raise Unsupported(f"a scale of shape {scale.shape} along axis {axis} of {integers.shape}: one an index of it")
    if scale.size > 1 and scale.size != integers.shape[axis]:
        raise Unsupported(f"{scale.size} scales along axis {axis} of {integers.shape}: one an index of it")
    return Quantized(integers, scale, zero, axis)


def quantize(importer: Importer, node: NodeProto) -> None:
    """Give QuantizeLinear's result a view: of the input, of what is known already, or of a node that is made now."""
    source, output = node.input[0], node.output[0]
    taken = importer.inputs.get(source)
    params = importer.params_made(node, by_channel=taken is None)
    importer.done(node, "folded", "scale and zero point")
    if params.by_channel:
        importer.views[output] = _quantized_by_channel(importer, source, params, output, node)
        if any(info.name == output for info in importer.model.graph.output):
            why = f"its integers are the model's, the scale told with them, {params.scale:g}, is the largest"
            importer.notes.append(f"output {output!r} has a scale for each channel: {why}")
    elif taken is None:
        importer.views[output] = _quantized(importer, source, params, output, node)
    elif taken.value is None:
        set_input(importer, taken, output, params)
        importer.views[output] = input_view(taken)
    else:
        first = input_view(taken)
        importer.views[output] = importer.requantize(first, params, output, (node.name,))
        if importer.params_of(first) != params:
            importer.notes.append(f"input {source!r} is quantized twice; the second time from the first result")


def _quantized_by_channel(importer: Importer, source: str, params: Params, output: str, node: NodeProto) -> View:
    """View of the float tensor ``source`` with a scale for each channel: of a convolution, or of what has one already.

    Its value has the largest of the scales; only those that take it as `ByChannel` know the others.
    """
    state = importer.floats.get(source)
    why = "a scale for each channel of an activation"
    if isinstance(state, View | ByChannel):
        view = state if isinstance(state, View) else state.view
        if len(view.shape) not in (3, 4) or attributes(node).get("axis", 1) % len(view.shape) != 1:
            raise Unsupported(f"{why}, along another axis")
        if isinstance(state, ByChannel) and tuple(state.scales) == params.by_channel:
            return view
        scales = None if isinstance(state, View) else state.scales
        return emit.rescaled(importer, (node.name,), view, scales, params, output)
    if not isinstance(state, Pending) or state.chain is not None:
        raise Unsupported(f"{why}: only of a convolution's result, or of one that is quantized")
    operators = [importer.by_name[name].op_type for name in state.names]
    if operators[0] != "Conv" or not set(operators[1:]) <= {"Relu", "Clip"}:
        raise Unsupported(f"{why}: only of a convolution's result, or of one that is quantized")
    if any(np.isfinite(bound) and bound != 0 for bound in state.clip):
        raise Unsupported(f"{why}: a Clip ends at another number in each")
    if attributes(node).get("axis", 1) % len(state.shape) != 1 or len(params.by_channel) != state.shape[1]:
        raise Unsupported(f"{why}, along another axis")
    return state.finish(params, output, *params.bounds(state.clip), state.names)


def _quantized(importer: Importer, source: str, params: Params, output: str, node: NodeProto) -> View:
    """View of the float tensor ``source`` quantized as ``params``, for the model's tensor ``output``.

    Quantization is monotonic and element by element, so it may as well come before MaxPool, Relu and layout.
    """
    state = importer.floats.get(source)
    if isinstance(state, View):
        return importer.requantize(state, params, output, (node.name,))
    if isinstance(state, ByChannel):
        return emit.rescaled(importer, (node.name,), state.view, state.scales, params, output)
    if isinstance(state, Pending):
        try:
            return state.finish(params, output, *params.bounds(state.clip), state.names)
        except (Unsupported, ModelError) as error:
            raise Unsupported(str(error), getattr(error, "node", None) or state.names[0]) from None
    producer = importer.producers.get(source)
    if producer is None or source in importer.consts:
        raise Unsupported(importer.why_not(source))
    passes = producer.op_type in LAYOUT_OPS or producer.op_type in ("MaxPool", "Relu", "Clip")
    passes = passes and producer.name not in importer.hosted and not is_interpolation(producer)
    if not passes:
        return on_host(importer, source, params, output)
    inner = _quantized(importer, producer.input[0], params, f"{producer.input[0]}/quantized", node)
    importer.done(producer)
    try:
        if producer.op_type == "MaxPool":
            return pools.max_pool(importer, producer, inner, attributes(producer))
        if producer.op_type in LAYOUT_OPS:
            return moved(importer, producer, inner, is_int=False)[list(producer.output).index(source)]
    except (Unsupported, ModelError) as error:
        raise Unsupported(str(error), getattr(error, "node", None) or producer.name) from None
    table = np.clip(importer.element.by_pattern(), *params.bounds(importer.clip_range(producer)))
    return importer.apply_table(inner, table, params, output, (producer.name,))
