"""Functions of one number of what the model does not round before: where the accelerator does, the importer chooses.

A model may quantize only behind an activation, not between it and the convolution that it belongs to. The accelerator
has a sum as an integer before it looks a function up, so the sum gets a scale here: over all numbers that make a
difference to the function's quantized result.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from superlip.element import ElementType
from superlip.graph.onnx.onnxtools import small_model
from superlip.graph.session import open_session

from .importer import Importer, of_one_tensor
from .states import Params, Pending, Unsupported
from .tables import float_table

__all__ = ["function_of_pending", "params_between"]

_REACH = np.exp2(np.linspace(-16, 16, 4096))
_NUMBERS = np.concatenate([-_REACH[::-1], [0.0], _REACH]).astype(np.float32)


def function_of_pending(
    importer: Importer,
    source: Pending,
    nodes: Sequence[NodeProto],
    operands: dict[str, NDArray],
    shape: tuple[int, ...],
    result: str,
) -> Pending:
    """Pending function of what is pending itself: ``nodes`` in order, down to the tensor ``result``."""
    nodes = of_one_tensor(nodes, operands)

    def finish(params, tensor, low, high, names):
        between = params_between(nodes, operands, result, params, importer.opsets)
        inner = source.finish(between, f"{tensor}/unrounded", *between.bounds(source.clip), source.names)
        table = float_table(nodes, operands, ("superlip_x", between), (result, params), importer.opsets)
        importer.notes.append(
            f"{nodes[-1].op_type} {nodes[-1].name!r} takes a result that the model does not round: it is rounded to "
            f"steps of {between.scale:.3g} before"
        )
        return importer.apply_table(inner, np.clip(table, low, high), params, tensor, nodes_of(nodes))

    return Pending(finish, shape, (*source.names, *nodes_of(nodes)), chain=(source, tuple(nodes), operands))


def nodes_of(nodes: Sequence[NodeProto]) -> tuple[str, ...]:
    """Names of nodes."""
    return tuple(node.name for node in nodes)


def params_between(
    nodes: Sequence[NodeProto], operands: dict[str, NDArray], result: str, params: Params, opsets: dict[str, int]
) -> Params:
    """Params that hold all numbers between which the quantized result of a function changes.

    Parameters
    ----------
    nodes : sequence of NodeProto
        From the tensor ``superlip_x`` to ``result``.
    operands : dict of str to ndarray
        Constants they take.
    params : Params
        Of the result.

    Raises
    ------
    Unsupported
        If the function has no value for some number.
    """
    model = small_model(
        nodes, [("superlip_x", TensorProto.FLOAT, [1, 1, 1, _NUMBERS.size])], [result], dict(operands),
        {"": 17} | opsets,
    )  # fmt: skip
    feed = {"superlip_x": _NUMBERS.reshape(1, 1, 1, -1)}
    values = open_session(model, is_optimized=False).run(None, feed)[0].reshape(-1)
    if np.isnan(values).any():
        raise Unsupported("it has no value for some numbers, and the model does not round what it takes")
    steps = np.rint(np.clip(values / params.scale, -1e6, 1e6)) + params.zero_point
    changes = np.flatnonzero(np.diff(np.clip(steps, *params.element.bounds)))
    low, high = (float(_NUMBERS[changes[0]]), float(_NUMBERS[changes[-1] + 1])) if changes.size else (0.0, 1.0)
    return _covering(min(low, 0.0), max(high, 0.0), params.element)


def _covering(low: float, high: float, element: ElementType) -> Params:
    scale = np.float32((high - low) / (element.patterns - 1))
    return Params(
        scale, int(np.clip(np.rint(element.bounds[0] - low / float(scale)), *element.bounds)), element=element
    )
