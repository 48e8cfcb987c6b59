"""Buffer with a reader of several words at once, against a list of words: all that a banked buffer promises, and that
the wide reader takes all of its words or none, and keeps none from the others while it waits."""

import cocotb
from cocotb.triggers import RisingEdge

from superlip.rtl.wide_memory import WideMemory
from superlip.sim.runner import case
from superlip.sim.testbenches import _banks

CASES = {
    "three_banks": {"words": 48, "banks": 3, "lanes": 8, "readers": 2, "writers": 2, "rank": 2},
    "four_ways": {
        "words": 32, "banks": 1, "lanes": 4, "readers": 3, "writers": 1, "rank": 3, "ways": 4, "patience": 8,
    },
    "first": {"words": 64, "banks": 2, "lanes": 8, "readers": 2, "writers": 1, "rank": 1, "ways": 2, "patience": 16},
    "node": {"words": 1024, "banks": 4, "lanes": 64, "readers": 2, "writers": 2, "rank": 2},
}  # fmt: skip


def build(**parameters):
    return WideMemory(**parameters)


async def begin(dut):
    return await _banks.Bench(dut, wide=case()["rank"] - 1).start()


@cocotb.test()
async def random_traffic(dut):
    await _banks.random_traffic(await begin(dut))


@cocotb.test()
async def same_cycle_gives_old_data(dut):
    await _banks.same_cycle_gives_old_data(await begin(dut))


@cocotb.test()
async def outside_is_dropped(dut):
    await _banks.outside_is_dropped(await begin(dut))


@cocotb.test()
async def nobody_waits_for_ever(dut):
    await _banks.nobody_waits_for_ever(await begin(dut))


@cocotb.test()
async def turns_are_of_one_bank(dut):
    await _banks.turns_are_of_one_bank(await begin(dut))


@cocotb.test()
async def half_a_read_is_none(dut):
    """One that comes before the wide reader takes one of its ways: whoever wants another way has it, but in the turn of
    the wide reader. Each way is tried, and each of those who come behind."""
    bench = await begin(dut)
    await bench.fill()
    reads, wide, behind = bench.reads, bench.wide, len(bench.reads.ports) - 1
    if wide == 0:  # nobody comes before it: then the last one gets what it leaves
        return await none_is_left(bench)
    for way in range(bench.ways):
        asked = {0: way, wide: 0, behind: (way + 1) % bench.ways}
        for index, word in asked.items():
            reads.ask(index, addr=bench.address(reads, index, word))
        granted = dict.fromkeys(asked, 0)
        for _ in range(3 * bench.patience):
            await RisingEdge(dut.clk)
            ready = reads.ready()
            for index in asked:
                granted[index] += ready[index]
        assert granted == {0: 3 * bench.patience - 3, wide: 3, behind: 3 * bench.patience - 3}
        for index in asked:
            reads.ask(index)
    return None


async def none_is_left(bench):
    """The first reader takes all ways: another one is served in its own turns only, of whatever way."""
    last = len(bench.reads.ports) - 1
    bench.reads.ask(bench.wide, addr=0)
    for way in range(bench.ways):
        bench.reads.ask(last, addr=way)
        granted = [0, 0]
        for _ in range(3 * bench.patience):
            await RisingEdge(bench.dut.clk)
            ready = bench.reads.ready()
            granted = [granted[0] + ready[bench.wide], granted[1] + ready[last]]
        assert granted == [3 * bench.patience - 3, 3]
