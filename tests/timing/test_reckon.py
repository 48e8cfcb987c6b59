"""Cycles reckoned from programs are those of the RTL."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from nets import random_branches, random_graph
from paths import DIGITS

from superlip import api
from superlip.boards import TARGETS
from superlip.report.attribution import attribute
from superlip.rtl.isa import Opcode, Unit, encode
from superlip.run.simulate import simulate
from superlip.sim.cluster import Simulator
from superlip.timing import reckon

TINY = TARGETS["tiny"]
DEPTHWISE = dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, depthwise_rows=16))


@cache
def digits():
    return api.load(DIGITS)


def simulated(simulator, design):
    """Cycles of each layer of an image, as the RTL takes them."""
    shape = design.graph.values[design.graph.input].shape
    result = simulate(simulator, design, np.zeros((1, *shape), np.int8)).check()
    return result, attribute(design, result, 0).sum(axis=1)


@pytest.mark.parametrize("boards", [1, 2])
def test_digits_to_the_cycle(tiny, boards):
    design = api.plan(digits(), boards=boards, node=TINY)
    result, layers = simulated(tiny, design)
    assert abs(design.cycles - result.cycles[0]) <= 3
    assert np.abs(design.reckoned.node_cycles - result.node_cycles[0]).max() <= 3
    assert design.layer_cycles.sum() == design.cycles and np.abs(design.layer_cycles - layers).max() <= 8


def test_every_instruction_of_digits(tiny):
    """Of each unit and layer: when the first instruction was taken, and the last one done."""
    design = api.plan(digits(), boards=2, node=TINY)
    result, _ = simulated(tiny, design)
    profile = result.profile[(result.profile["image"] == 0) & (result.profile["taken"] > 0)]
    assert {int(unit) for unit in profile["unit"]} == set(Unit)
    for record in profile:
        mine = design.reckoned.runs[0].instructions[record["node"]][record["unit"]]
        mine = [instruction for instruction in mine if instruction.tag == record["tag"]]
        assert len(mine) == record["taken"]
        # LOAD and the fetch share a port, and which of two bursts comes first moves the other one by a burst.
        limit = 40 if record["unit"] in (Unit.LOAD, Unit.SEND, Unit.VECTOR) else 4
        assert abs(mine[0].taken - record["first_taken"]) <= limit
        assert abs(mine[-1].done - record["last_done"]) <= limit


@pytest.mark.parametrize("seed", [0, 2, 4, 6, 8])
@pytest.mark.parametrize("make", [random_graph, random_branches])
@pytest.mark.parametrize("boards", [1, 2])
def test_random_networks(make, seed, boards):
    """Pooling, additions, folded kernel columns, tables, what overlaps: within half a percent, or a few cycles."""
    rng = np.random.default_rng(seed)
    graph, _ = make(rng, size=9) if make is random_graph else make(rng)
    design = api.plan(graph, boards=boards, node=DEPTHWISE)
    result, _ = simulated(Simulator.build(DEPTHWISE), design)
    assert abs(design.cycles - result.cycles[0]) <= max(5, 0.005 * result.cycles[0])
    assert design.layer_cycles.sum() == design.cycles


def test_slower_memory_and_links_take_longer():
    slow = dataclasses.replace(
        TINY,
        dram=dataclasses.replace(TINY.dram, bytes_per_cycle=2, latency=100),
        link=dataclasses.replace(TINY.link, bytes_per_cycle=1, latency=100),
    )
    design = api.plan(digits(), boards=2, node=TINY)
    assert dataclasses.replace(design, target=slow).cycles > design.cycles + 300


def test_host_stops_cut_an_image():
    design = api.plan(random_graph(np.random.default_rng(2), size=9)[0], node=TINY)
    program = design.compiled.programs()[1][0][0]
    once = reckon(TINY, [[(0, program)]])
    twice = reckon(TINY, [[(0, program)], [(0, program)]])
    assert twice.cycles == 2 * once.cycles and len(twice.runs) == 2


def test_a_program_that_stops_is_named():
    wait = encode(Opcode.STORE, tag=7, waits={int(Unit.VECTOR): 1}, count0=1, count1=1, count2=1)
    with pytest.raises(ValueError, match=r"board 0: STORE \(tag 7\) is never done"):
        reckon(TINY, [[(0, wait + encode(Opcode.END))]])
