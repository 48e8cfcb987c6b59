"""Whole networks in a simulator that knows unknown values (x): every register and every memory begins as one.

What a reset, the host and the program don't set stays unknown, as on a chip; an unknown value that reached a control
signal, or AXI or link data that is valid, would be an error. Outputs equal the golden.
"""

import re

import cluster_testbench
import cocotb
import numpy as np
from paths import DIGITS

from superlip import golden, load, plan
from superlip.sim.build import node_text
from superlip.sim.runner import case, rng

CASES = {
    "layer": {"boards": 1, "network": "layer"},
    "digits": {"boards": 1, "network": "digits"},
    "digits_two": {"boards": 2, "network": "digits"},
}
_FIRST_VALUE = re.compile(r"^(  reg (?:\[\d+:\d+\] )?\S+ ?) = [^;]+;", re.MULTILINE)


def build(boards, network):
    text, count = _FIRST_VALUE.subn(r"\1;", node_text(cluster_testbench.TARGET.node))
    assert count > 500 and "initial begin" not in text, "how registers are written has changed"
    return cluster_testbench.Nodes(text, boards)


class Board(cluster_testbench.Board):
    """Watches that control signals are known, and what is valid with them."""

    def sample(self, t):
        if not getattr(self.dut, f"control__{self.number}").value.is_resolvable:
            names = [handle._name for handle in self.dut if handle._name.startswith(f"node__{self.number}__")]
            names = [name for name in names if not getattr(self.dut, name).value.is_resolvable]
            raise AssertionError(f"cycle {t}: of {', '.join(names)} a control signal is unknown")
        super().sample(t)

    def get(self, name):
        value = self.signal(name).value
        if name == "trace_write":  # of a word, some lanes may mean nothing: only whether one is written counts here
            value = value[0:0]
        assert value.is_resolvable, f"node {self.number}: {name} is {value}"
        return 0 if name == "trace_write" else int(value)


@cocotb.test()
async def network(dut):
    """Outputs of one image."""
    boards, random = case()["boards"], rng()
    if case()["network"] == "layer":
        graph, images, compiled = cluster_testbench.workload(
            "ROWS", random.getrandbits(32), channels=8, filters=13, boards=1
        )
    else:
        graph = load(DIGITS)
        compiled = plan(graph, boards=boards, node=cluster_testbench.TARGET.name).compiled
        images = np.random.default_rng(random.getrandbits(32)).integers(-128, 128, (1, 1, 8, 8)).astype(np.int8)
    images = images[:1]
    cluster = cluster_testbench.Cluster(dut, boards, Board)
    _, (output,) = await cluster.execute(compiled, images)
    expected = golden.run(graph, images)
    for name, value in compiled.outputs(output).items():
        np.testing.assert_array_equal(value, expected[name][0])
        channels, tn = len(value), cluster_testbench.TARGET.node.tn
        last = np.frombuffer(output[-1], np.int8).reshape(-1, tn)
        assert channels % tn and not last[:, channels % tn :].any(), "what no channel is in is zero, in DRAM as well"
    assert boards == 1 or all(board.flits for board in cluster.boards)
