"""Sizes that a user gives to inputs which the model leaves open."""

from collections.abc import Mapping, Sequence
from typing import Any

from superlip.graph.errors import ModelError

__all__ = ["InputShape", "open_axes", "set_input_shapes", "shapes_text"]

InputShape = Mapping[str, Sequence[int]] | Sequence[int]
"""Shapes with the batch, by the inputs' names; or the one of the only input that a model's nodes take."""


def set_input_shapes(model: Any, given: InputShape | None) -> None:
    """Give inputs of a model the sizes that a user names, in place.

    Dimensions that the model fixes keep their sizes; the sizes of results that followed from open ones are forgotten.

    Parameters
    ----------
    model : ModelProto
    given : dict of str to shape, or the shape of the only input, or None

    Raises
    ------
    ModelError
        For an input that there is not, another rank, a size below 1, or another one than the model fixes.
    """
    if given is None:
        return
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = {info.name: info for info in model.graph.input if info.name not in constants}
    for name, shape in _by_name(inputs, given, model.graph).items():
        if name not in inputs:
            raise ModelError(f"input_shape: no input is named {name!r}; the model has {', '.join(map(repr, inputs))}")
        _set(inputs[name], tuple(shape))
    for info in model.graph.output:
        if info.type.tensor_type.HasField("shape"):
            info.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]


def _by_name(inputs: Mapping[str, Any], given: InputShape, graph: Any) -> Mapping[str, Sequence[int]]:
    if isinstance(given, Mapping):
        return given
    # Exporters leave inputs of what they have computed themselves.
    taken = {name for node in graph.node for name in node.input}
    names = [name for name in inputs if name in taken] or list(inputs)
    if len(names) != 1:
        raise ModelError(f"input_shape: say of which input, as a dict by name; the model has {', '.join(names)}")
    return {names[0]: given}


def _set(info: Any, shape: tuple[int, ...]) -> None:
    what = f"input_shape: input {info.name!r}"
    if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in shape):
        raise ModelError(f"{what} is given {shape}: sizes are whole numbers above 0")
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        for _ in shape:
            tensor.shape.dim.add()
    dims = tensor.shape.dim
    if len(dims) != len(shape):
        raise ModelError(f"{what} has {len(dims)} dimensions, {shapes_text(info)}, and is given {len(shape)}: {shape}")
    for axis, (dim, size) in enumerate(zip(dims, shape, strict=True)):
        if axis and dim.dim_value > 0 and dim.dim_value != size:
            raise ModelError(
                f"{what} has the fixed size {dim.dim_value} along axis {axis} and is given {size}; only open sizes "
                f"can be chosen: {shapes_text(info)}"
            )
        if dim.dim_value <= 0:
            dim.dim_value = size


def open_axes(info: Any) -> list[int]:
    """Axes of an input, without the batch, that have no fixed size."""
    return [axis for axis, dim in enumerate(info.type.tensor_type.shape.dim) if axis and dim.dim_value <= 0]


def shapes_text(info: Any) -> str:
    """Shape of an input as the model has it, open sizes by their names: ``(N, 3, height, ?)``."""
    dims = info.type.tensor_type.shape.dim
    return f"({', '.join(str(d.dim_value) if d.dim_value > 0 else d.dim_param or '?' for d in dims)})"
