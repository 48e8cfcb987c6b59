"""A model as a whole."""

from collections.abc import Container

from onnx import ModelProto

from superlip.graph.apart import Weights, skeleton

from .graph import sort_nodes, take_images
from .nodes import check_node
from .runtime import may_abort, with_runtime
from .sizes import check_sizes, inferred
from .tensors import constants_of

__all__ = ["validate"]


def validate(model: ModelProto, name: str, refused: Container[str] = (), weights: Weights | None = None) -> None:
    """Refuse a model that is none, or that no machine can hold; put its nodes in order.

    In place: nodes come behind those whose results they take, the batch becomes 1, and value infos go.

    Parameters
    ----------
    model : ModelProto
        ``check_tensors`` has seen it, and its nodes have names.
    name : str
        Of the model, for messages that are about all of it.
    refused : container of str
        Names of nodes that are known not to be supported: they are not looked at.
    weights : dict of str to ndarray, optional
        Numbers of the constants that the model has by name only.

    Raises
    ------
    ModelError
    """
    sort_nodes(model.graph, name)
    del model.graph.value_info[:]  # what follows from the rest, unless it is wrong
    take_images(model, name)
    light = skeleton(model)
    shapes = inferred(light)
    check_sizes(light, shapes)
    constants = constants_of(model.graph, weights)
    for node in model.graph.node:
        if node.name not in refused:
            check_node(node, constants, shapes)
    if not refused and not any(map(may_abort, model.graph.node)):
        check_sizes(light, shapes | with_runtime(light, name))
