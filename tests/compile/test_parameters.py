"""Parameters that do not fit beside the activations come from DRAM for each image, where they are used, in time."""

import dataclasses

import numpy as np
import pytest
from emitting import begin, node
from functional import run_compiled
from nets import wide_and_narrow

from superlip.compile.parameters import ParameterStream
from superlip.plan.partition import Split
from superlip.rtl.isa import Memory, Opcode

SMALL = node(act_words=1024, act_banks=1, acc_words=64)
SPLITS = [(1, None), (2, Split.ROWS), (2, Split.CHANNELS), (2, None)]


def graph(pairs=4, **options):
    return wide_and_narrow(np.random.default_rng(5), pairs, channels=256, **options)


@pytest.mark.parametrize("host", [False, True])
@pytest.mark.parametrize("boards, split", SPLITS)
def test_bits_are_the_same(boards, split, host):
    """Convolutions with and without tables, sums, tables; also where the host cuts the program."""
    network, image = graph(host=host)
    compiled = run_compiled(network, image, boards, split=split, target=SMALL)
    assert compiled.liveness is not None and compiled.segments == 1 + host


@pytest.mark.parametrize("boards, split", SPLITS)
def test_each_board_loads_what_it_uses_once(boards, split):
    at = begin(graph()[0], boards, split=split, target=SMALL)
    stream = ParameterStream(at.context, at.state)
    arrived = []
    for task in at.plan.order:
        stream.load(task)
        arrived = [{i.tag - 1 for i in board} for board in at.state.emitter.streams]
        steps = [(step.board, task.op) for step in (*task.weight_steps, *task.vector_steps)]
        assert all(op in arrived[board] for board, op in steps if op in at.plan.streamed)
    assert at.plan.streamed == [index for index, table in enumerate(at.plan.parameter_words) if table]
    for board, buffer in enumerate(at.plan.activations):
        loads = at.state.emitter.streams[board]
        assert all(i.opcode is Opcode.LOAD and i.body["memory"] is Memory.ACT for i in loads)
        assert len(loads) == len(arrived[board]), "none comes twice"
        for i in loads:
            places, words = buffer.parameters[i.tag - 1], at.plan.parameter_words[i.tag - 1]
            assert i.body["local"] == min(places.values())
            assert i.body["count0"] == sum(words[key] for key in places)
            if split is Split.CHANNELS and at.network.ops[i.tag - 1].output.storage.groups > 1:
                assert len(places) == len(words) // 2
    assert at.state.traffic == [sum(i.body["count0"] for i in board) for board in at.state.emitter.streams]


def test_none_is_loaded_for_an_image_where_all_stay():
    at = begin(graph()[0], target=dataclasses.replace(SMALL, node=dataclasses.replace(SMALL.node, act_words=8192)))
    stream = ParameterStream(at.context, at.state)
    for task in at.plan.order:
        stream.load(task)
    assert at.plan.streamed == [] and at.plan.parameter_loads == {} and at.state.emitter.streams == [[]]
