"""A concatenation, of channels or of rows, is no operation where its inputs can be written where it lies."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from superlip.graph import ir
from superlip.ops import OpSpec, Window, spec_of
from superlip.ops.arithmetic import is_rising
from superlip.ops.vector import VectorSpec

from .places import Places
from .pooling import Fusion

__all__ = ["join_slices", "place_concatenations", "place_stacks"]


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
            if name in places.of:
                continue
            if table is None and _is_by_lanes(makers.get(name)):
                if _can_be_written(makers, makers[name], part.offset % places.tn, places, fusion):
                    places.of[name] = part
                continue
            writer = _writer(makers, name, table, fusion)
            if writer is None or not writer.can_write(part.offset, places.tn):
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


def _is_by_lanes(node: ir.Node | None) -> bool:
    """Whether VECTOR makes a pixel of a pixel of each operand, in the same lanes."""
    return node is not None and isinstance(spec_of(node), VectorSpec) and spec_of(node).window == Window()


def _can_be_written(makers: dict[str, ir.Node], node: ir.Node, lane: int, places: Places, fusion: Fusion) -> bool:
    """Whether the result of an operation on lanes begins at this one with fewer moves than if it were moved itself.

    Operands that convolutions make for it alone get a place of their own there.
    """
    free = [
        name
        for name in node.inputs
        if name not in places.of
        and fusion.is_alone(name)
        and name in makers
        and spec_of(makers[name]).is_conv
        and fusion.pool_of(makers[name]) is None
    ]
    lanes = [_lane(makers, name, places) for name in node.inputs]
    moves = sum(name not in free and at != lane for name, at in zip(node.inputs, lanes, strict=True))
    if moves > (0 if len(set(lanes)) == 1 else sum(at != 0 for at in lanes)):
        return False
    for name in free if lane else ():
        places.own(name, lane)
    return True


def _lane(makers: dict[str, ir.Node], name: str, places: Places) -> int:
    """Lane at which a value begins, as far as that is known before it is made."""
    sliced = spec_of(makers[name]).sliced if name in makers and name not in places.of else None
    if sliced is not None:
        return (_lane(makers, sliced[0], places) + sliced[1]) % places.tn
    return places.of[name].offset % places.tn if name in places.of else 0


def place_stacks(nodes: list[ir.Node], places: Places, fusion: Fusion) -> dict[str, int]:
    """Give the inputs of stacked rows their place in the result, where convolutions make them that nobody else reads.

    Returns
    -------
    dict of str to int
        By value, the row of the result at which it begins.
    """
    makers = {node.output: node for node in nodes}
    rows: dict[str, int] = {}
    for node in nodes:
        row = 0
        for name in spec_of(node).stacks:
            maker = makers.get(name)
            if maker is not None and spec_of(maker).is_conv and fusion.is_alone(name) and name not in places.of:
                places.of[name], rows[name] = places.place(node.output), row
            row += places.values[name].shape[1]
    return rows


def join_slices(graph: ir.Graph) -> ir.Graph:
    """Slices that a concatenation puts together again become the value that they are of, which may lie there itself."""
    sliced = {node.output: spec_of(node).sliced for node in graph.nodes}
    nodes = []
    for node in graph.nodes:
        joins = spec_of(node).joins
        kept = _whole(joins, sliced, graph.values)
        if len(kept) < len(joins):
            names, tables = zip(*kept, strict=True)
            node = spec_of(node).joining(names, tables)  # noqa: PLW2901
        nodes.append(node)
    return replace(graph, nodes=nodes)


def _are_alike(table: ir.Elements | None, other: ir.Elements | None) -> bool:
    return table is other or (table is not None and other is not None and np.array_equal(table, other))


Join = tuple[str, ir.Elements | None]


def _whole(
    joins: Sequence[Join], sliced: dict[str, tuple[str, int, int] | None], values: dict[str, ir.Value]
) -> list[Join]:
    """What a concatenation joins, with each run of slices that is a whole value as one."""
    kept: list[Join] = []
    at = 0
    while at < len(joins):
        of = sliced.get(joins[at][0])
        source, end, count = (of[0], 0, 0) if of is not None else ("", 0, 0)
        while at + count < len(joins):
            name, table = joins[at + count]
            piece = sliced.get(name)
            if piece is None or piece[:2] != (source, end) or not _are_alike(table, joins[at][1]):
                break
            end, count = piece[2], count + 1
        if count > 1 and end == values[source].shape[0]:
            kept.append((source, joins[at][1]))
            at += count
        else:
            kept.append(joins[at])
            at += 1
    return kept
