"""Designs run instruction by instruction in random order: every word that VECTOR writes equals the golden's."""

from types import SimpleNamespace

import numpy as np

from superlip.boards import TARGETS
from superlip.compile.compiler import compile_network
from superlip.golden.run import run as run_golden
from superlip.plan.lower import lower_for
from superlip.plan.planner import make_plan
from superlip.run.host import HostWork
from superlip.sim.functional import FunctionalCluster
from superlip.sim.result import trace_dtype

TINY = TARGETS["tiny"]


def run_image(cluster, compiled, image, seed):
    """One image, with the host's steps."""
    host = HostWork(compiled, image)
    writes = host.begin()
    for segment in range(compiled.segments):
        if segment:
            writes = host.between(segment, [cluster.read(*piece) for piece in compiled.host_ranges(segment)])
        for number, offset, data in writes:
            cluster.write(number, offset, data)
        cluster.run([board.programs[segment] for board in compiled.boards], seed + segment)


def run_compiled(graph, image, boards, *, split=None, seeds=(0, 1), target=TINY, dram_words=1 << 17, halves=False):
    """Compile and run; every value that VECTOR wrote and the outputs must equal the golden's."""
    network = lower_for(graph, target.node, halves=halves)
    plan = make_plan(network, target, boards, split=split)
    compiled = compile_network(network, plan, target)
    expected = network.complete(run_golden(graph, image[None]))
    for seed in seeds:
        cluster = started(compiled, seed, dram_words)
        for number in range(2):  # what stays on chip must survive an image
            run_image(cluster, compiled, image, seed + number)
        for board, state in zip(compiled.boards, cluster.boards, strict=True):
            assert not state.counters.any()
            assert len(state.written) == 2 * len(board.written)
            for written, (tag, _, words) in zip(board.written * 2, state.written, strict=True):
                op = network.ops[written.op]
                storage = op.output.storage
                value = network.words(storage.name, {name: values[0] for name, values in expected.items()})
                block = value[(written.group, *written.places())].reshape(-1, target.node.tn)
                lanes = np.flatnonzero(op.lanes(written.group)[written.lane0 : written.lane1]) + written.lane0
                assert tag == written.op + 1
                np.testing.assert_array_equal(words[:, lanes], block[:, lanes], err_msg=f"{op.name} seed {seed}")
        raw = [cluster.read(*piece) for piece in compiled.output_ranges()]
        for name, array in compiled.outputs(raw).items():
            np.testing.assert_array_equal(array, expected[name][0])
    return compiled


def started(compiled, seed=0, dram_words=1 << 17):
    """A cluster whose init programs have run."""
    images = [board.dram.extents for board in compiled.boards]
    regions = [board.dram.regions for board in compiled.boards]
    cluster = FunctionalCluster(compiled.target.node, images, compiled.boards[0].dram.stripe_bytes, dram_words, regions)
    cluster.run([board.init_program for board in compiled.boards], seed)
    return cluster


def traced(design, quantized):
    """A run of a design on images (int8, shape (B, C, H, W)) with what the RTL's has of words: trace and outputs.

    The cycle of a word is its number in what its board writes for the image.
    """
    compiled = design.compiled
    cluster, outputs = started(compiled), []
    records = [np.empty(0, trace_dtype(compiled.target.node.tn))]
    for number, image in enumerate(quantized):
        for board in cluster.boards:
            board.written.clear()
        run_image(cluster, compiled, image, seed=number)
        for node, board in enumerate(cluster.boards):
            words = np.concatenate([words for _, _, words in board.written])
            record = np.zeros(len(words), records[0].dtype)
            record["cycle"], record["image"], record["node"] = np.arange(len(words)), number, node
            record["address"] = np.concatenate([addresses for _, addresses, _ in board.written])
            record["data"], record["mask"] = words, 255
            records.append(record)
        outputs.append([cluster.read(*piece) for piece in compiled.output_ranges()])
    return SimpleNamespace(trace=np.concatenate(records), outputs=outputs)
