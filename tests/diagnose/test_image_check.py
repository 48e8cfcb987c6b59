"""A byte of a board's DRAM that is not the compiler's is found, wherever it lies, and named."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Builder

from superlip import api
from superlip.boards import TARGETS
from superlip.diagnose.image_check import LIMIT, check_images


def compiled(boards):
    net = Builder(np.random.default_rng(9), (9, 7, 6))
    a = net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1), table=True)
    graph = net.graph(net.add(a, net.pool(a, "max", (3, 3), pads=(1, 1, 1, 1))))
    return api.plan(graph, boards=boards, node=TARGETS["tiny"]).compiled


COMPILED = {boards: compiled(boards) for boards in (1, 2)}


def contents(boards):
    return [[(o, bytearray(data)) for o, data in board.dram.extents] for board in COMPILED[boards].boards]


@pytest.mark.parametrize("boards", COMPILED)
def test_nothing_differs_from_itself(boards):
    assert check_images(COMPILED[boards], contents(boards)) == []


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_flipped_bit_is_found(data):
    boards = data.draw(st.sampled_from([*COMPILED]))
    dram = contents(boards)
    board = data.draw(st.integers(0, boards - 1))
    offset, extent = data.draw(st.sampled_from(dram[board]))
    at = data.draw(st.integers(0, len(extent) - 1))
    extent[at] ^= 1 << data.draw(st.integers(0, 7))
    found = check_images(COMPILED[boards], dram)
    image = COMPILED[boards].boards[board]
    is_program = offset in (image.init_program, *image.programs)
    if is_program and not found:  # a bit that no instruction has a field for
        return
    assert len(found) == 1 or is_program
    for difference in found:
        assert difference.board == board and str(difference).startswith(f"board {board}: ")
        assert (difference.kind == "program") == is_program
        assert offset <= difference.address < offset + len(extent)
        assert difference.op is None or 0 <= difference.op < len(COMPILED[boards].network.ops)


def test_extents_that_are_missing_short_or_too_many():
    ((first, *rest),) = contents(1)
    offset, data = first
    (found,) = check_images(COMPILED[1], [rest])
    assert found.text == f"nothing instead of {len(data)} bytes lie at DRAM {offset:#x}"
    (found,) = check_images(COMPILED[1], [[(offset, data[:-8]), *rest]])
    assert found.text == f"{len(data) - 8} bytes instead of {len(data)} bytes lie at DRAM {offset:#x}"
    (found,) = check_images(COMPILED[1], [[first, *rest, (1 << 25, b"abc")]])
    assert found.text == "3 bytes lie at DRAM 0x2000000, where the compiler puts nothing"


def test_a_wrong_file_as_a_whole_is_no_endless_list():
    dram = contents(1)
    for _, data in dram[0]:
        data[:] = bytes(255 - byte for byte in data)
    image = COMPILED[1].boards[0]
    assert 0 < len(check_images(COMPILED[1], dram)) <= LIMIT * len(image.dram.extents)
