"""Constants with a number for each element: tensors that the host writes with the image, for which no board stops."""

from collections.abc import Sequence

import numpy as np
from onnx import helper

from superlip.graph import ir
from superlip.graph.onnx.onnxtools import small_model, tensor_type
from superlip.graph.onnx.views import View, image_shape

from .importer import Importer
from .states import Unsupported
from .weights import Quantized

__all__ = ["constant_tensor", "is_tensor"]


def is_tensor(importer: Importer, constant: Quantized) -> bool:
    """Whether a constant of integers may be a tensor of the accelerator: of an element's type, with one scale."""
    zero = constant.zero
    is_single = constant.scale.size == 1 and (zero is None or zero.size == 1)
    return is_single and constant.integers.dtype in importer.element.types


def constant_tensor(
    importer: Importer, names: Sequence[str], constant: Quantized, shape: Sequence[int], tensor: str
) -> View:
    """A value that holds a constant, broadcast to the model's ``shape``, for the nodes ``names``."""
    source = next((taken.value for taken in importer.inputs.values() if taken.value is not None), None)
    if source is None:
        raise Unsupported("a constant tensor in front of everything that takes the image")
    zero = np.zeros((), constant.integers.dtype) if constant.zero is None else constant.zero
    params = importer.params_of_constants(constant.scale, zero)
    elements = np.broadcast_to(constant.integers, shape).astype(np.int64) - params.offset
    image = image_shape(shape)
    given = {"constant": elements.reshape(1, *image).astype(importer.element.dtype)}
    taken = ("image", tensor_type(importer.element.dtype), [1, *importer.values[source].shape])
    model = small_model([helper.make_node("Identity", ["constant"], ["result"])], [taken], ["result"], given, {"": 17})
    output = importer.unique(tensor)
    node = ir.Host(
        name=importer.unique_node(f"{names[0]}/constant"), inputs=(source,), output=output, model=model,
        reason="a constant with a number for each element",
    )  # fmt: skip
    return View(importer.add(node, image, params), tuple(int(size) for size in shape))
