"""Bursts share a DRAM's bandwidth."""

import dataclasses

import pytest

from superlip.boards import TARGETS
from superlip.timing.clock import Clock
from superlip.timing.dram import Dram

TINY = TARGETS["tiny"]  # 8 bytes a cycle, a word of 8 bytes, latency 40, one cycle for a burst


def run(*bursts, target=TINY):
    """Cycles of the last words of (method, cycle, ...)."""
    clock, ends = Clock(), []
    dram = Dram(clock, target)
    for name, cycle, *rest in bursts:
        clock.at(cycle, lambda name=name, rest=(cycle, *rest): getattr(dram, name)(*rest, ends.append))
    clock.run()
    return ends


def test_reads_follow_each_other():
    assert run(("read", 10, 16)) == [10 + 40 + 16]
    assert run(("read", 10, 16), ("read", 12, 16)) == [66, 66 + 17]
    assert run(("read", 10, 16), ("read", 500, 16)) == [66, 556]


def test_reads_and_writes_share_what_there_is():
    alone = run(("write", 50, 64))
    read, write = run(("read", 10, 64), ("write", 50, 64))
    assert alone == [50 + 64 + 40]
    assert write > alone[0] + 50 and read > 10 + 40 + 64 + 50


def test_a_burst_of_the_fetch_is_on_one_port():
    wide = dataclasses.replace(TINY, node=dataclasses.replace(TINY.node, tm=32, tn=32, axi_ports=4))
    wide = dataclasses.replace(wide, dram=dataclasses.replace(wide.dram, bytes_per_cycle=32))
    assert run(("fetch", 0, 8, 64, True), target=wide) == [pytest.approx(40 + 8, abs=1)]


def test_narrow_ports_limit_a_burst():
    fast = dataclasses.replace(TINY, dram=dataclasses.replace(TINY.dram, bytes_per_cycle=64))
    assert run(("read", 0, 32), target=fast)[0] >= 40 + 31
