"""A concatenation is no operation where its inputs can be written where it lies."""

from typing import Any

from superlip.graph import ir
from superlip.ops import OpSpec, spec_of
from superlip.ops.arithmetic import is_rising

from .places import Places
from .pooling import Fusion

__all__ = ["place_concatenations"]


def place_concatenations(nodes: list[ir.Node], places: Places, fusion: Fusion) -> dict[str, ir.Elements]:
    """Give the inputs of concatenations their place in it, where what makes them can write there.

    Returns
    -------
    dict of str to table
        Values that are written through a table on their way into a concatenation.
    """
    makers = {node.output: node for node in nodes}
    tables = {}
    for node in reversed(nodes):
        spec = spec_of(node)
        if not spec.joins:
            continue
        place, first = places.place(node.output), 0
        for name, table in spec.joins:
            channels = places.values[name].shape[0]
            part = place.part(first, channels)
            first += channels
            writer = _writer(makers, name, table, fusion)
            if writer is None or name in places.of or not writer.can_write(part.offset, places.tn):
                continue
            if table is not None:
                if not (writer.takes_table and fusion.is_alone(name)):
                    continue
                tables[name] = table
            places.of[name] = part
    return tables


def _writer(makers: dict[str, ir.Node], name: str, table: ir.Elements | None, fusion: Fusion) -> OpSpec[Any] | None:
    """What writes a value: the convolution that a pooling is fused into, else the node that makes it."""
    maker = makers.get(name)
    if maker is None:
        return None
    front = makers.get(maker.inputs[0])
    fused = front is not None and is_rising(table) and fusion.pool_of(front) is maker
    return spec_of(front if fused else maker)
