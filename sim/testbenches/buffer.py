"""Banked buffer against a list of words: who comes first, masks, old data on a collision, addresses out of range."""

import cocotb

from superlip.rtl.memory import BankedMemory
from superlip.sim.testbenches import _banks

CASES = {
    "three_banks": {"words": 48, "banks": 3, "lanes": 8, "readers": 4, "writers": 3},
    "one_bank": {"words": 16, "banks": 1, "lanes": 4, "readers": 2, "writers": 1, "patience": 4},
    "node": {"words": 1024, "banks": 8, "lanes": 64, "readers": 4, "writers": 3},
}


def build(**parameters):
    return BankedMemory(**parameters)


@cocotb.test()
async def random_traffic(dut):
    await _banks.random_traffic(await _banks.Bench(dut).start())


@cocotb.test()
async def same_cycle_gives_old_data(dut):
    await _banks.same_cycle_gives_old_data(await _banks.Bench(dut).start())


@cocotb.test()
async def outside_is_dropped(dut):
    await _banks.outside_is_dropped(await _banks.Bench(dut).start())


@cocotb.test()
async def nobody_waits_for_ever(dut):
    await _banks.nobody_waits_for_ever(await _banks.Bench(dut).start())


@cocotb.test()
async def turns_are_of_one_bank(dut):
    await _banks.turns_are_of_one_bank(await _banks.Bench(dut).start())
