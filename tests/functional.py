"""Programs run instruction by instruction in random order: every word that VECTOR writes equals the golden's."""

import numpy as np

from superlip.boards import TARGETS
from superlip.compile.compiler import compile_network
from superlip.golden.run import run as run_golden
from superlip.plan.lower import lower
from superlip.plan.planner import make_plan
from superlip.run.host import HostWork
from superlip.sim.functional import FunctionalCluster

TINY = TARGETS["tiny"]


def run_frame(cluster, compiled, image, seed):
    """One image, with the host's steps."""
    host = HostWork(compiled, image)
    writes = host.begin()
    for segment in range(compiled.segments):
        if segment:
            writes = host.between(segment, [cluster.read(*piece) for piece in compiled.host_ranges(segment)])
        for number, offset, data in writes:
            cluster.write(number, offset, data)
        cluster.run([board.programs[segment] for board in compiled.boards], seed + segment)


def run_compiled(graph, image, boards, *, split=None, seeds=(0, 1), target=TINY, dram_words=1 << 17):
    """Compile and run; every value that VECTOR wrote and the outputs must equal the golden's."""
    network = lower(graph, target.node.tn)
    plan = make_plan(network, target, boards, split=split)
    compiled = compile_network(network, plan, target)
    expected = run_golden(graph, image[None])
    for seed in seeds:
        images = [board.dram.extents for board in compiled.boards]
        cluster = FunctionalCluster(target.node, images, compiled.boards[0].dram.stripe_bytes, dram_words)
        cluster.run([board.init_program for board in compiled.boards], seed)
        for frame in range(2):  # what stays on chip must survive a frame
            run_frame(cluster, compiled, image, seed + frame)
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
