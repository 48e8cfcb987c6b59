"""Operations computed one by one, in numpy, on what lies in storages."""

import dataclasses

import numpy as np

from superlip.golden.run import run as run_golden
from superlip.graph import ir
from superlip.ops import apply
from superlip.plan.lower import lower


def seen(name, place, zero_point, size=None):
    """A value as an operation sees it."""
    return ir.Value(name, (place.channels, *(place.size if size is None else size)), 1.0, zero_point)


def taken(storages, place):
    """What lies at a place: shape (C, H, W)."""
    return storages[place.storage.name][place.offset : place.offset + place.channels]


def compute(op, storages):
    """The result of an operation on its grid, shape (C, rows, cols)."""
    names = [f"in{number}" for number in range(len(op.inputs))]
    inputs = [taken(storages, place)[None] for place in op.inputs]
    node = dataclasses.replace(op.node, inputs=tuple(names), output="out")
    zero_points = dict(zip((*names, "out"), op.zero_points, strict=True))
    values = {name: seen(name, place, zero_points[name]) for name, place in zip(names, op.inputs, strict=True)}
    values["out"] = seen("out", op.output, zero_points["out"], op.sums_size)
    result = apply(node, inputs, values)
    if op.pixels > 1:
        result = result.reshape(1, op.pixels, -1, *result.shape[2:]).max(axis=1)
    if op.pool is not None:
        pool = dataclasses.replace(op.pool, inputs=("out",), output="pooled")
        result = apply(pool, [result], values | {"pooled": seen("pooled", op.output, 0)})
    return result[0, :, : op.grid[0], : op.grid[1]]


def run_network(network, image):
    """Storages by name, shape (C, H, W), when all operations and steps of the host are done."""
    graph = network.graph
    storages, made = {graph.input: network.prepare(image[None])[0]}, {graph.input: image}
    for position, op in enumerate(network.ops):
        for node in (step.node for step in network.steps if step.position == position):
            inputs = [made[n] if n in made else taken(storages, network.places[n]) for n in node.inputs]
            made[node.output] = apply(node, [x[None] for x in inputs], graph.values)[0]
            storages[network.places[node.output].storage.name] = made[node.output]
        storage = op.output.storage
        if storage.name not in storages:
            storages[storage.name] = np.zeros((storage.channels, storage.height, storage.width), np.int8)
        rows, cols = (
            slice(first, first + (count - 1) * step + 1, step)
            for first, count, step in zip(op.origin, op.grid, op.step, strict=True)
        )
        taken(storages, op.output)[:, rows, cols] = compute(op, storages)
    return storages


def check_lowered(graph, image, tn=8, **options):
    """Lower and compare what each storage holds in the end, and the outputs, with the golden of the graph."""
    network = lower(graph, tn, **options)
    storages, expected = run_network(network, image), network.complete(run_golden(graph, image[None]))
    for name, (value, first) in network.contents.items():
        array = expected[value][0]
        np.testing.assert_array_equal(storages[name][first : first + len(array)], array, err_msg=name)
    for name in network.outputs:
        np.testing.assert_array_equal(taken(storages, network.places[name]), expected[name][0], err_msg=name)
    return network
