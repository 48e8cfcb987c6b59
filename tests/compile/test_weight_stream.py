"""Weights are in the buffer when a step is at work on them: loaded, or loaded in part and sent by the other board."""

import numpy as np
import pytest
from emitting import begin, node
from nets import Builder

from superlip.compile.weight_stream import WeightStream
from superlip.plan.partition import Split
from superlip.rtl.isa import Memory, Opcode


def graph():
    net = Builder(np.random.default_rng(3), (40, 6, 6))
    x = net.conv("image", 64, (3, 3), pads=(1, 1, 1, 1))
    return net.graph(net.conv(net.conv(x, 72, (3, 3), pads=(1, 1, 1, 1)), 64, (3, 3), pads=(1, 1, 1, 1)))


@pytest.mark.parametrize("boards, split", [(1, None), (2, Split.ROWS), (2, Split.CHANNELS)])
def test_blocks_are_there_when_they_are_used(boards, split):
    """Runs the LOADs and SENDs on DRAM addresses in the place of words."""
    at = begin(graph(), boards, split=split, target=node(weight_words=1024))
    buffers = np.full((boards, 1024), -1)
    for board, plan in enumerate(at.plan.weights):
        for key, address in plan.residents.items():
            words = plan.blocks[key].words
            buffers[board, address : address + words] = at.context.dram.weights[board][key] + np.arange(words)
    stream, seen = WeightStream(at.context, at.state), [0] * boards
    sent, loaded = 0, [0] * boards
    for number, task in enumerate(at.plan.order):
        places = stream.begin(number)
        for board in range(boards):
            for i in at.state.emitter.streams[board][seen[board] :]:
                words = np.arange(i.body["count0"])
                if i.opcode is Opcode.LOAD:
                    assert i.body["memory"] is Memory.WEIGHT
                    buffers[board, i.body["local"] + words] = i.body["dram"] + words
                    loaded[board] += len(words)
                elif i.body["count0"]:
                    # Both boards have the same blocks at the same places of their DRAM.
                    buffers[i.body["node"], i.body["remote"] + words] = buffers[board, i.body["local"] + words]
                    sent += len(words)
            seen[board] = len(at.state.emitter.streams[board])
        for step, place in zip(task.weight_steps, places, strict=True):
            held = buffers[step.board, place.address : place.address + step.block.words]
            first = at.context.dram.weights[step.board][step.key]
            np.testing.assert_array_equal(held, np.arange(first, first + step.block.words))
        stream.end(number, 0)
        left = {(step.board, load.key, load.number)
                for task, mine in zip(at.plan.order[number + 1 :], at.plan.loads[number + 1 :], strict=True)
                for step, load in zip(task.weight_steps, mine, strict=True) if load}  # fmt: skip
        for board, held in enumerate(stream.boards):
            assert {(board, *key) for key in held.held} <= left, "what is used no more is forgotten"
    assert bool(sent) == (split is Split.ROWS), "only weight-shared blocks go over the link"
    assert [board.words_loaded for board in stream.boards] == loaded and all(loaded)
