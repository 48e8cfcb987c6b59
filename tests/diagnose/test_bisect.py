"""Faults planted in what the boards are given: `bisect` finds each one, and names it."""

import dataclasses
import io
import re

import numpy as np
import pytest
from nets import Builder, straddling_groups
from paths import ROOT
from rich.console import Console

from superlip import api, golden
from superlip.boards import TARGETS
from superlip.cli import main
from superlip.compile import design as designs
from superlip.compile.compiler import compile_network
from superlip.compile.dram import DramImage
from superlip.diagnose.bisect import bisect, built_dram
from superlip.diagnose.image_check import check_images
from superlip.diagnose.programs import read_programs
from superlip.rtl.config import ADDRESS_BITS
from superlip.rtl.isa import INSTRUCTION_BYTES, Memory, Opcode, Unit, decode, encode
from superlip.run.images import DataError, Images
from superlip.sim.cluster import Cut, SimulationError

TINY = TARGETS["tiny"]


def network():
    """Three convolutions, two poolings, an addition; channels that fill no whole tile, and one that is folded."""
    net = Builder(np.random.default_rng(43), (9, 8, 8))  # clip leaves values in every channel of every layer
    a = net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1))
    b = net.pool(a, "average", (3, 3), pads=(1, 1, 1, 1))
    c = net.conv(net.add(a, b), 2, (1, 1))
    d = net.conv(c, 20, (3, 3), pads=(1, 1, 1, 1), table=True)
    return net.graph(net.pool(d, "max", (3, 3), strides=(2, 2))), net.image()


GRAPH, IMAGE = network()
GOLDEN = golden.run(GRAPH, IMAGE)
DESIGNS = {boards: api.plan(GRAPH, boards=boards, node=TINY) for boards in (1, 2)}


def contents(design):
    """Contents of the boards' DRAM, to be changed."""
    return [[(offset, bytearray(data)) for offset, data in board.dram.extents] for board in design.compiled.boards]


def programs(design, board=0):
    image = design.compiled.boards[board]
    return read_programs(board, image.dram.extents, image.init_program, image.programs)


def place(word):
    """Byte offset of a DRAM word of the one board of a design."""
    return DESIGNS[1].compiled.boards[0].dram.ranges(word, 1)[0][0]


def at(dram, board, address, length):
    """The bytes at an address in a board's DRAM, as a view that can be written."""
    for offset, data in dram[board]:
        if offset <= address < offset + len(data):
            return memoryview(data)[address - offset : address - offset + length]
    raise AssertionError(f"nothing lies at {address:#x}")


def change(dram, listed, /, *, header=None, **body):
    """Change fields of an instruction."""
    opcode, old, fields = decode(listed.raw)
    old |= header or {}
    waits = {s: old[f"wait_{s}"] for s in range(8)}
    raw = encode(opcode, tag=old["tag"], waits=waits, post=old["post"], **(fields | body))
    at(dram, listed.board, listed.address, INSTRUCTION_BYTES)[:] = raw


def index(name, design=DESIGNS[1]):
    return next(i for i, op in enumerate(design.network.ops) if op.name == name)


def find(tiny, dram, boards=1, **options):
    finding = bisect(DESIGNS[boards], IMAGE[None], dram=dram, simulator=tiny, **options)
    print(finding)
    return finding


def conv_loads(name, memory):
    """LOADs of a layer's weights, or the one of the parameters (init program)."""
    tag = index(name) + 1 if memory == Memory.WEIGHT else 0
    return [i for i in programs(DESIGNS[1]).init if i.body["memory"] == memory and i.tag == tag]


@pytest.mark.parametrize("boards", [1, 2])
def test_nothing_to_find(tiny, boards):
    assert bisect(DESIGNS[boards], np.stack([IMAGE, -1 - IMAGE]), simulator=tiny) is None
    assert check_images(DESIGNS[boards].compiled, contents(DESIGNS[boards])) == []


@pytest.mark.parametrize("name", ["conv0", "conv4"])
def test_a_wrong_requantization_constant(tiny, name):
    design, dram = DESIGNS[1], contents(DESIGNS[1])
    op = design.network.ops[index(name)]
    user = next(i for i in programs(design).of(Unit.VECTOR) if i.tag == index(name) + 1 and i.body["load_params"])
    (load,) = conv_loads(name, Memory.ACT)
    word = load.body["dram"] + user.body["params"] - load.body["local"]
    m = max(range(8), key=lambda m: len(np.unique(GOLDEN[op.node.output][0, m])))  # one that clip leaves alone
    scale = at(dram, 0, place(word) + m * 8 + 4, 4)
    right = np.frombuffer(bytes(scale), "<f4")[0]
    assert right == op.node.scale[m]
    scale[:] = np.float32(3 * right).tobytes()
    finding = find(tiny, dram)
    assert finding.kind == "value" and finding.place.layer == name
    assert (finding.place.tile, finding.place.channel) == (0, m) and finding.place.got != finding.place.expected
    assert 0 < finding.differing <= 64 and finding.values == op.output.channels * 64
    assert finding.instruction.opcode is Opcode.VECTOR and finding.instruction.tag == index(name) + 1
    (cause,) = finding.causes
    assert cause.kind == "constant" and cause.op == index(name)
    assert f"layer {name}, tile 0, channel {m}: scale is {np.float32(3 * right)}, the model says {right}" in str(cause)


@pytest.mark.parametrize(("name", "m"), [("conv0", 10), ("conv4", 17)])
def test_a_swapped_weight(tiny, name, m):
    """conv0's kernel is folded into channels by the host, conv4's columns into lanes."""
    design = DESIGNS[1]
    op = design.network.ops[index(name)]
    right = next(node for node in GRAPH.nodes if node.name == name).weights
    wrong = right.copy()
    wrong[m, 0, 0, 1], wrong[m, 1, 2, 2] = right[m, 1, 2, 2], right[m, 0, 0, 1]
    assert wrong[m, 0, 0, 1] != wrong[m, 1, 2, 2]
    ops = list(design.network.ops)
    ops[index(name)] = dataclasses.replace(
        op, node=dataclasses.replace(op.node, weights=wrong.reshape(op.node.weights.shape))
    )
    other = compile_network(dataclasses.replace(design.network, ops=ops), design.plan, TINY)
    dram = [board.dram.extents for board in other.boards]
    finding = find(tiny, dram)
    assert finding.kind == "value" and finding.place.layer == name
    assert (finding.place.tile, finding.place.channel) == (m // 8, m)
    # The pixel: the first in which a golden with these weights differs, and its value.
    nodes = [dataclasses.replace(n, weights=wrong) if n.name == name else n for n in GRAPH.nodes]
    values = golden.run(dataclasses.replace(GRAPH, nodes=nodes), IMAGE)[op.node.output][0]
    place, true = finding.place, GOLDEN[op.node.output][0]
    assert (place.channel, place.row, place.col) == tuple(np.argwhere(values != true)[0])
    assert place.got == values[place.channel, place.row, place.col] and finding.differing == (values != true).sum()
    assert place.expected == true[place.channel, place.row, place.col]
    assert [i.opcode for i in finding.fed_by] == [Opcode.MATMUL, Opcode.FEED, Opcode.LOAD, Opcode.LOAD]
    assert finding.fed_by[2].body["memory"] == Memory.WEIGHT
    assert len(finding.causes) == 2 and {cause.kind for cause in finding.causes} == {"weights"}
    for cause, (n, ky, kx) in zip(sorted(finding.causes, key=lambda c: c.address), [(0, 0, 1), (1, 2, 2)], strict=True):
        place = f"layer {name}, tile {m // 8}, differ at output channel {m}, input channel {n}, kernel ({ky}, {kx})"
        values = f"it is {wrong[m, n, ky, kx]}, the model says {right[m, n, ky, kx]}"
        assert place in str(cause) and values in str(cause)


def test_a_table_and_a_factor(tiny):
    design, dram = DESIGNS[1], contents(DESIGNS[1])
    (load,) = conv_loads("conv4", Memory.ACT)
    users = {i.tag - 1: i for i in programs(design).of(Unit.VECTOR) if i.body["load_params"]}
    add, conv = users[index("add2")], users[index("conv4")]
    for user, byte in ((add, 2 * 8 + 2), (conv, 64 + 256 - 2)):
        word = load.body["dram"] + user.body["params"] - load.body["local"]
        at(dram, 0, place(word) + byte, 1)[0] ^= 0x40
    texts = [str(cause) for cause in check_images(design.compiled, dram)]
    assert any("constant of layer add2, lane 2: factor a is" in text for text in texts)
    assert any("table of layer conv4, entry for -2: it is" in text for text in texts)
    assert find(tiny, dram).place.layer == "add2"


def test_a_lost_post(tiny):
    design, dram = DESIGNS[1], contents(DESIGNS[1])
    matmuls = [i for i in programs(design).of(Unit.MATMUL) if i.posts_to(Unit.VECTOR)]
    lost = matmuls[len(matmuls) // 2]
    change(dram, lost, header={"post": lost.header["post"] & ~(1 << Unit.VECTOR)})
    finding = find(tiny, dram, watchdog=3000)
    assert finding.kind == "hang" and finding.instruction.opcode is Opcode.VECTOR
    assert finding.culprit.opcode is Opcode.MATMUL and finding.culprit.number == lost.number
    assert "VECTOR waits at" in str(finding) and "for post" in str(finding) and "of MATMUL" in str(finding)
    (cause,) = finding.causes
    assert f"instruction {lost.position} of program 0 (MATMUL" in str(cause) and "does not post to VECTOR" in str(cause)


def test_a_lost_post_to_another_board(tiny):
    """A SEND that moves its words and does not say so."""
    dram = contents(DESIGNS[2])
    sends = [i for i in programs(DESIGNS[2], 1).of(Unit.SEND) if i.body["remote_post"]]
    lost = sends[0]
    change(dram, lost, remote_post=0)
    finding = find(tiny, dram, 2, watchdog=3000)
    assert finding.kind == "hang" and finding.instruction.board == 0
    assert finding.instruction.opcode == lost.body["remote_unit"]
    assert (finding.culprit.board, finding.culprit.number) == (1, lost.number)
    assert any("field remote_post is 0, should be 1" in str(cause) and cause.board == 1 for cause in finding.causes)


def test_a_cut_link_is_no_fault_of_the_files(tiny):
    finding = find(tiny, None, 2, watchdog=3000, faults=[Cut(0, 20)])
    assert finding.kind == "hang" and not finding.causes and "look at the hardware" in str(finding)
    assert finding.culprit is None and finding.instruction is not None


def test_an_address_outside(tiny):
    dram = contents(DESIGNS[1])
    matmul = next(i for i in programs(DESIGNS[1]).of(Unit.MATMUL) if i.tag == index("conv3") + 1)
    change(dram, matmul, act=TINY.node.act_words + 10)
    finding = find(tiny, dram)
    assert finding.kind == "error"
    assert (finding.instruction.opcode, finding.instruction.number) == (Opcode.MATMUL, matmul.number)
    assert "MATMUL: address" in str(finding) and "outside the memory" in str(finding)
    right = f"field act is {TINY.node.act_words + 10}, should be {matmul.body['act']}"
    assert right in str(finding.causes[0]) and finding.causes[0].op == index("conv3")


def test_a_shifted_source(tiny):
    """MATMUL reads one word too far: its layer is wrong, those behind are not named."""
    dram = contents(DESIGNS[1])
    matmul = next(i for i in programs(DESIGNS[1]).of(Unit.MATMUL) if i.tag == index("conv3") + 1)
    change(dram, matmul, act=matmul.body["act"] + 1)
    finding = find(tiny, dram)
    assert finding.kind == "value" and finding.place.layer == "conv3"
    assert finding.fed_by[0].number == matmul.number
    assert f"field act is {matmul.body['act'] + 1}, should be {matmul.body['act']}" in str(finding.causes[0])


@pytest.mark.parametrize("boards", [1, 2])
def test_a_shifted_result(tiny, boards):
    """Right values in the wrong place: found where they are written, not where they are missed."""
    dram, board = contents(DESIGNS[boards]), boards - 1
    vector = [i for i in programs(DESIGNS[boards], board).of(Unit.VECTOR) if i.tag == index("pool1") + 1][1]
    change(dram, vector, dest=vector.body["dest"] + 2)
    finding = find(tiny, dram, boards)
    assert finding.kind == "address" and finding.place.layer == "pool1" and finding.board == board
    assert finding.instruction.number == vector.number
    assert f"the compiler's program writes word {vector.body['dest']}" in str(finding)


def test_a_store_to_the_wrong_place(tiny):
    dram = contents(DESIGNS[1])
    store = programs(DESIGNS[1]).of(Unit.STORE)[-1]
    change(dram, store, dram=store.body["dram"] + 1)
    finding = find(tiny, dram)
    assert finding.kind == "output" and finding.place.layer == "pool5"
    assert finding.instruction.opcode is Opcode.STORE and finding.instruction.address == store.address


def test_a_row_that_is_left_out(tiny):
    dram = contents(DESIGNS[1])
    vector = programs(DESIGNS[1]).of(Unit.VECTOR)[-1]
    change(dram, vector, rows=vector.body["rows"] - 1)
    finding = find(tiny, dram)
    assert finding.kind == "missing" and finding.place.layer == "pool5" and finding.place.got is None
    assert finding.instruction.number == vector.number


def test_an_unknown_opcode(tiny):
    dram = contents(DESIGNS[1])
    listed = programs(DESIGNS[1]).image[7]
    at(dram, 0, listed.address, 1)[0] |= 15
    at(dram, 0, listed.address, 1)[0] &= 0xF9
    finding = find(tiny, dram, watchdog=3000)
    assert finding.kind == "error" and "unknown opcode 9" in str(finding)
    assert "instruction 7" in str(finding) and "its opcode is 9, unknown" in str(finding.causes[0])


def test_a_fault_in_the_init_program(tiny):
    dram = contents(DESIGNS[1])
    load = programs(DESIGNS[1]).init[1]
    change(dram, load, local=1 << 18)
    finding = find(tiny, dram)
    assert (finding.kind, finding.image) == ("error", -1) and finding.instruction.address == load.address
    assert "the init programs: a node stopped" in str(finding)


def test_only_the_second_image_is_wrong(tiny):
    """The first image is all zeros, which hides a wrong weight (one that never meets the padding)."""
    dram = contents(DESIGNS[1])
    load = conv_loads("conv0", Memory.WEIGHT)[0]
    at(dram, 0, place(load.body["dram"]), 8)[4] ^= 0x7F
    images = np.stack([np.zeros_like(IMAGE), IMAGE])
    finding = bisect(DESIGNS[1], images, dram=dram, simulator=tiny)
    assert finding.image == 1 and finding.place.layer == "conv0"
    assert "output channel 0, input channel 0, kernel (1, 1)" in str(finding.causes[0])
    finding = bisect(DESIGNS[1], images[:1], dram=dram, simulator=tiny)
    assert finding.kind == "files" and "kernel (1, 1)" in str(finding.causes[0])


@pytest.mark.parametrize("boards", [1, 2])
def test_a_weight_where_groups_begin_words(tiny, boards):
    """Filter 7 is the second of a group whose channels begin a word: tile 1, lane 1."""
    graph, image = straddling_groups(np.random.default_rng(43))
    design = api.plan(graph, boards=boards, node=TINY)
    number = index("conv3", design)
    op = design.network.ops[number]
    wrong = op.conv.weights.copy()
    wrong[7, 5, 1, 1] ^= 64
    ops = [*design.network.ops]
    ops[number] = dataclasses.replace(op, node=dataclasses.replace(op.conv, weights=wrong))
    other = compile_network(dataclasses.replace(design.network, ops=ops), design.plan, TINY)
    finding = bisect(design, image[None], dram=[board.dram.extents for board in other.boards], simulator=tiny)
    assert (finding.place.layer, finding.place.tile, finding.place.lane, finding.place.channel) == ("conv3", 1, 1, 7)
    assert finding.place.expected == golden.run(graph, image)["conv3.y"][0, 7, finding.place.row, finding.place.col]
    assert finding.causes
    for cause in finding.causes:
        assert "layer conv3, tile 1, differ at output channel 7, input channel 5, kernel (1, 1): it is " in str(cause)


def test_behind_a_host_operation(tiny):
    """Two programs for each image: the second one has the fault."""
    net = Builder(np.random.default_rng(43), (9, 8, 8))
    x = net.host(net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1)))
    graph = net.graph(net.conv(x, 16, (1, 1)))
    design = api.plan(graph, boards=2, node=TINY)
    dram = contents(design)
    image = net.image()[None]
    matmul = next(i for i in programs(design, 1).of(Unit.MATMUL) if i.segment == 1)
    change(dram, matmul, accumulate=1)
    finding = bisect(design, image, dram=dram, simulator=tiny)
    assert finding.place.layer == "conv2" and finding.board == 1 and finding.fed_by[0].address == matmul.address
    assert (finding.instruction.segment, finding.causes[0].op) == (1, 1)
    assert "of program 1 (MATMUL" in str(finding) and "field accumulate is 1, should be 0" in str(finding)
    dram = contents(design)
    change(dram, matmul, header={"post": 0})
    finding = bisect(design, image, dram=dram, simulator=tiny, watchdog=3000)
    assert finding.kind == "hang" and finding.culprit.address == matmul.address and finding.culprit.segment == 1


def test_a_built_folder(tiny, tmp_path):
    folder = api.build(DESIGNS[1], tmp_path / "built")
    assert built_dram(folder) == [[(o, bytes(d)) for o, d in DESIGNS[1].compiled.boards[0].dram.extents]]
    assert bisect(DESIGNS[1], IMAGE[None], dram=built_dram(folder), simulator=tiny) is None
    with pytest.raises(DataError, match="DRAM images of 1 boards, for 2"):
        bisect(DESIGNS[2], IMAGE[None], dram=built_dram(folder), simulator=tiny)
    with pytest.raises(DataError, match="not a folder that superlip build wrote"):
        built_dram(tmp_path)


@pytest.mark.slow
def test_the_waveform(tiny, tmp_path):
    """It shows the write that was found, at the time that the finding says."""
    dram = contents(DESIGNS[2])
    matmul = programs(DESIGNS[2]).of(Unit.MATMUL)[0]
    change(dram, matmul, act=matmul.body["act"] + 1)
    finding = find(tiny, dram, 2, waves=tmp_path)
    assert finding.waves == [tmp_path / "bisect-0.vcd", tmp_path / "bisect-1.vcd"]
    text = finding.waves[0].read_text()
    times = [int(time) for time in re.findall(r"^#(\d+)$", text, re.MULTILINE)]
    assert (times[0], times[-1]) == (finding.waves_time - 10 * 200, finding.waves_time + 10 * 50 + 5)
    code = re.search(r"\$var \w+ +\d+ (\S+) trace_write ", text).group(1)
    then = text[text.index(f"#{finding.waves_time}\n") :]
    write = int(re.search(rf"^b([01]+) {re.escape(code)}$", then, re.MULTILINE).group(1), 2)
    word = write >> 1 & (1 << ADDRESS_BITS) - 1
    assert write & 1 and f"word {word} of the activation buffer" in finding.details[0]
    assert "begins at time" in str(finding)


def test_command(tiny, tmp_path, monkeypatch, capsys):
    model = ROOT / "examples/digits/digits.onnx"
    monkeypatch.chdir(tmp_path)
    arguments = ["bisect", str(model), "--node", "tiny", "--images", "2"]
    assert main(arguments) == 0
    assert "no difference found in" in capsys.readouterr().out
    assert main(["build", str(model), "--node", "tiny", "-o", "built"]) == 0
    file = tmp_path / "built/board0/dram.bin"
    data = file.read_bytes()
    words = api.plan(api.load(model), node="tiny").compiled.boards[0].dram.extents[0][1]  # of conv1
    assert data.count(words) == 1
    file.write_bytes(data.replace(words, words[:20] + bytes([words[20] ^ 0x7F]) + words[21:]))
    assert main([*arguments, "--built", "built", "--no-waves"]) == 1
    out = capsys.readouterr().out
    assert "the first wrong value in time" in out and "layer    conv1" in out
    assert "weights of layer conv1, tile 0, differ at output channel 2, input channel 0, kernel (1, 1)" in out
    assert main(["bisect", str(model), "--node", "tiny", "--built", "nowhere"]) == 2


def test_the_report_of_a_run_names_it(tiny, monkeypatch):
    """`superlip run`: a difference is looked into without being asked."""
    dram = contents(DESIGNS[2])
    vector = programs(DESIGNS[2], 1).of(Unit.VECTOR)[0]
    change(dram, vector, high=vector.body["low"] + 1)
    extents = DramImage.extents.fget
    wrong = {}

    def noted(network, plan, target):
        compiled = compile_network(network, plan, target)
        if len(compiled.boards) == 2:
            wrong.update(zip((board.dram for board in compiled.boards), dram, strict=True))
        return compiled

    monkeypatch.setattr(designs, "compile_network", noted)
    monkeypatch.setattr(DramImage, "extents", property(lambda image: wrong.get(image) or extents(image)))
    report = api.run(GRAPH, boards=2, node=TINY, images=Images(IMAGE[None], None, "random"))
    assert not report.bit_exact and "layer    conv0" in report.finding and "board 1" in report.finding
    assert "VECTOR #0 (board 1" in report.finding
    console = Console(width=200, file=io.StringIO())
    report.print(console)
    assert report.finding in console.file.getvalue()
    lost = programs(DESIGNS[2]).of(Unit.MATMUL)[0]
    change(dram, lost, header={"post": 0})
    with pytest.raises(SimulationError, match=r"(?s)watchdog.*VECTOR waits at .* the program lacks a post"):
        api.run(GRAPH, boards=2, node=TINY, images=Images(IMAGE[None], None, "random"))
