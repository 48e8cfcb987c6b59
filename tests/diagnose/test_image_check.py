"""A byte of a board's DRAM that is not the compiler's is found, wherever it lies, and named."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets import Builder, few_channels, straddling_groups, wide_and_narrow

from superlip import api
from superlip.boards import TARGETS
from superlip.diagnose.image_check import LIMIT, check_images
from superlip.ops.params import lane_params

TN = TARGETS["tiny"].node.tn


def compiled(boards):
    net = Builder(np.random.default_rng(9), (9, 7, 6))
    a = net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1), table=True)
    b = net.conv(a, 12, (3, 3), pads=(1, 1, 1, 1), groups=12, table=True)
    graph = net.graph(net.add(b, net.pool(a, "max", (3, 3), pads=(1, 1, 1, 1))))
    tiny = TARGETS["tiny"]
    node = dataclasses.replace(tiny, node=dataclasses.replace(tiny.node, depthwise_rows=16))
    return api.plan(graph, boards=boards, node=node).compiled


def streamed():
    """Its parameters come from DRAM for each image, to places that others have had before."""
    graph, _ = wide_and_narrow(np.random.default_rng(5), 3, channels=256)
    small = dataclasses.replace(TARGETS["tiny"].node, act_words=768, act_banks=3, acc_words=64)
    design = api.plan(graph, boards=2, node=dataclasses.replace(TARGETS["tiny"], node=small))
    assert design.plan.streamed
    return design.compiled


def in_sections():
    """Groups of channels begin words."""
    graph, _ = straddling_groups(np.random.default_rng(5))
    return api.plan(graph, boards=2, node=TARGETS["tiny"]).compiled


def several_pixels():
    """Convolutions make several pixels of a pooling's window at once."""
    graph, _ = few_channels(np.random.default_rng(5))
    return api.plan(graph, boards=2, node=TARGETS["tiny"]).compiled


COMPILED = {
    1: compiled(1), 2: compiled(2), "streamed": streamed(), "sections": in_sections(), "pixels": several_pixels(),
}  # fmt: skip


def contents(which):
    return [[(o, bytearray(data)) for o, data in board.dram.extents] for board in COMPILED[which].boards]


@pytest.mark.parametrize("which", COMPILED)
def test_nothing_differs_from_itself(which):
    assert check_images(COMPILED[which], contents(which)) == []


def test_a_constant_is_its_own_layer_s_whatever_shares_its_place():
    """The bias of lane 0 of the first group of each convolution, where parameters take each other's place."""
    design = COMPILED["streamed"]
    for op in design.network.ops:
        if not op.is_conv:
            continue
        words = lane_params(np.resize(op.conv.bias[:TN], TN), np.resize(op.conv.scale[:TN], TN)).tobytes()
        dram = contents("streamed")
        (data,) = [data for _, data in dram[0] if bytes(data).startswith(words[: 8 * TN])]
        data[1] ^= 1
        (found,) = check_images(design, dram)
        assert found.kind == "constant" and design.network.ops[found.op] is op
        assert f"requantization constant of layer {op.name}, tile 0, channel 0: bias is" in found.text


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_every_flipped_bit_is_found(data):
    which = data.draw(st.sampled_from([*COMPILED]))
    dram = contents(which)
    board = data.draw(st.integers(0, len(dram) - 1))
    offset, extent = data.draw(st.sampled_from(dram[board]))
    at = data.draw(st.integers(0, len(extent) - 1))
    extent[at] ^= 1 << data.draw(st.integers(0, 7))
    found = check_images(COMPILED[which], dram)
    image = COMPILED[which].boards[board]
    is_program = offset in (image.init_program, *image.programs)
    if is_program and not found:  # a bit that no instruction has a field for
        return
    assert len(found) == 1 or is_program
    for difference in found:
        assert difference.board == board and str(difference).startswith(f"board {board}: ")
        assert (difference.kind == "program") == is_program
        assert offset <= difference.address < offset + len(extent)
        assert difference.op is None or 0 <= difference.op < len(COMPILED[which].network.ops)


def test_weights_of_lanes_are_named():
    """Each of a depthwise layer, in the lane of its channel, and nothing else by their name."""
    dram, image, named = contents(1), COMPILED[1], {}
    index, op = next((i, op) for i, op in enumerate(image.network.ops) if op.spec.by_columns)
    programs = image.boards[0].init_program, *image.boards[0].programs
    for extent in (extent for offset, extent in dram[0] if offset not in programs):
        for at in range(len(extent)):
            extent[at] ^= 1
            (difference,) = check_images(image, dram)
            extent[at] ^= 1
            if difference.kind == "weights" and difference.op == index:
                named[difference.text.split(" differ at ")[1].split(":")[0]] = extent[at]
    weights = op.node.weights.view(np.uint8)
    expected = {f"channel {c}, kernel ({y}, {x})": weights[c, 0, y, x] for c, y, x in np.ndindex(12, 3, 3)}
    assert expected.items() <= named.items()


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


def test_weights_of_several_pixels_are_named():
    """Four pixels of two channels; of a kernel of 4x4, whose taps are channels of the image."""
    image, named = COMPILED["pixels"], set()
    dram, board = contents("pixels"), image.boards[0]
    assert image.network.ops[0].conv.weights.shape == (4 * 2, 3 * 4 * 4, 1, 1)
    for extent in (extent for offset, extent in dram[0] if offset not in (board.init_program, *board.programs)):
        for at in range(len(extent)):
            extent[at] ^= 1
            (difference,) = check_images(image, dram)
            extent[at] ^= 1
            if difference.kind == "weights" and difference.op == 0:
                named.add(difference.text.split(" differ at ")[1].split(":")[0])
    assert named == {
        f"output channel {c} of a window's pixel {p}, input channel {n}, kernel ({y}, {x})"
        for p, c, n, y, x in np.ndindex(4, 2, 3, 4, 4)
    }
