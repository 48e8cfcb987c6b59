"""Control over AXI4-Lite against the register list: every offset, every access, every channel order."""

from itertools import product

import cocotb
from cocotb.triggers import RisingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from superlip.rtl.config import NodeConfig
from superlip.rtl.control import OKAY, SLVERR, Control
from superlip.rtl.registers import registers
from superlip.sim.runner import rng
from superlip.sim.testbenches._streams import pauses, settle, start, tick

CASES = {"node": {}}
MAP = registers(NodeConfig())


def build():
    return Control(MAP)


def having(access):
    return [r for r in MAP if r.access == access]


def settings(dut):
    return {r.name: int(getattr(dut, f"settings__{r.name}").value) for r in having("rw")}


def command_words(dut):
    return {r.name: int(getattr(dut, f"commands__{r.name}").value) for r in having("command")}


def set_values(dut, values):
    for r in having("ro"):
        getattr(dut, f"values__{r.name}").value = values.get(r.name, 0)


async def begin(dut):
    set_values(dut, {})
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "bus_"), dut.clk, dut.rst)
    await start(dut)
    return master


def pause(master, random):
    """Every second cycle or so each channel pauses."""
    for channel in (master.write_if.aw_channel, master.write_if.w_channel, master.write_if.b_channel,
                    master.read_if.ar_channel, master.read_if.r_channel):  # fmt: skip
        channel.set_pause_generator(pauses(random, 0.5))


@cocotb.test()
async def every_offset(dut):
    """Reads and writes of all 1024 offsets: known ones answer, others SLVERR; with random pauses."""
    random = rng()
    master = await begin(dut)
    values = {r.name: random.getrandbits(r.width) for r in having("ro")}
    set_values(dut, values)
    pause(master, random)
    by_offset = {r.offset: r for r in MAP}
    written = {}
    for offset in random.sample(range(0, 4096, 4), 1024):
        register = by_offset.get(offset)
        word = random.getrandbits(32)
        answer = await with_timeout(master.write(offset, word.to_bytes(4, "little")), 2, "us")
        writable = register is not None and register.access in ("rw", "command")
        assert answer.resp == (AxiResp.OKAY if writable else AxiResp.SLVERR), hex(offset)
        if writable and register.access == "rw":
            written[register.name] = word & ((1 << register.width) - 1)
    for offset in random.sample(range(0, 4096, 4), 1024):
        register = by_offset.get(offset)
        answer = await with_timeout(master.read(offset, 4), 2, "us")
        assert answer.resp == (AxiResp.OKAY if register else AxiResp.SLVERR), hex(offset)
        expected = 0
        if register:
            expected = {"const": register.reset, "ro": values.get(register.name),
                        "rw": written.get(register.name), "command": 0}[register.access]  # fmt: skip
        assert int.from_bytes(answer.data, "little") == expected, hex(offset)
    assert settings(dut) == written


@cocotb.test()
async def every_bit(dut):
    """All registers again and again with other values: no bit depends on another, or on another register's."""
    random = rng()
    master = await begin(dut)
    for _ in range(8):
        values = {r.name: random.getrandbits(r.width) for r in having("ro")}
        set_values(dut, values)
        written = {r.name: random.getrandbits(r.width) for r in having("rw")}
        for r in having("rw"):
            await master.write(r.offset, written[r.name].to_bytes(4, "little"))
        assert settings(dut) == written
        for r in random.sample(MAP, len(MAP)):
            expected = {"const": r.reset, "ro": values.get(r.name), "rw": written.get(r.name), "command": 0}[r.access]
            assert int.from_bytes((await master.read(r.offset, 4)).data, "little") == expected, r.name


@cocotb.test()
async def reset_values_and_strobes(dut):
    """Settings start at their reset values; a write of some bytes leaves the others, in every register."""
    random = rng()
    master = await begin(dut)
    expected = {r.name: r.reset for r in having("rw")}
    assert settings(dut) == expected
    for r in having("rw") * 12:
        first = random.randrange(4)
        data = random.randbytes(random.randint(1, 4 - first))
        await master.write(r.offset + first, data)
        mask = (1 << 8 * len(data)) - 1 << 8 * first
        kept = expected[r.name] & ~mask | int.from_bytes(data, "little") << 8 * first
        expected[r.name] = kept & ((1 << r.width) - 1)
        assert settings(dut) == expected, r.name
        assert int.from_bytes((await master.read(r.offset, 4)).data, "little") == expected[r.name], r.name


@cocotb.test()
async def many_at_once(dut):
    """Addresses and data come as soon as there is room, answers are taken late: each access is done once, in order."""
    random = rng()
    master = await begin(dut)
    values = {r.name: random.getrandbits(r.width) for r in having("ro")}
    set_values(dut, values)
    pause(master, random)
    seen = [settings(dut)]
    commands = []

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            if (now := settings(dut)) != seen[-1]:
                seen.append(now)
            commands.extend((name, word >> 1) for name, word in command_words(dut).items() if word & 1)

    watching = cocotb.start_soon(watch())
    writes, expected, commanded = [], [dict(seen[0])], []
    for _ in range(150):
        r, word = random.choice(having("rw") + 4 * having("command") + having("ro")[:2]), random.getrandbits(32)
        writes.append((r, cocotb.start_soon(master.write(r.offset, word.to_bytes(4, "little")))))
        value = word & ((1 << r.width) - 1)
        if r.access == "rw" and expected[-1][r.name] != value:
            expected.append(expected[-1] | {r.name: value})
        elif r.access == "command":
            commanded.append((r.name, value))
    reads = [
        (r, cocotb.start_soon(master.read(r.offset, 4))) for r in random.choices(having("ro") + having("const"), k=150)
    ]
    for r, access in writes:
        answer = await with_timeout(access, 20, "us")
        assert answer.resp == (AxiResp.SLVERR if r.access == "ro" else AxiResp.OKAY), r.name
    for r, access in reads:
        answer = await with_timeout(access, 20, "us")
        assert int.from_bytes(answer.data, "little") == values.get(r.name, r.reset), r.name
    await tick(dut, 2)
    watching.cancel()
    assert seen == expected
    assert commands == commanded


@cocotb.test()
async def commands_last_one_cycle(dut):
    """A command bit is high in exactly one cycle for each write, whichever of address and data is first, if its byte
    is written."""
    random = rng()
    for name in ("awvalid", "wvalid", "bready", "arvalid", "rready", "awprot", "arprot"):
        getattr(dut, f"bus__{name}").value = 0
    set_values(dut, {})
    await start(dut)
    offset = next(r.offset for r in MAP if r.name == "CONTROL")
    pulses = []

    async def watch():
        while True:
            await RisingEdge(dut.clk)
            if int(dut.commands__CONTROL.value):
                pulses.append(int(dut.commands__CONTROL.value) >> 1)

    async def drive(channel, delay, **values):
        await tick(dut, 1 + delay)
        for name, value in values.items():
            getattr(dut, f"bus__{name}").value = value
        getattr(dut, f"bus__{channel}valid").value = 1
        while True:
            await RisingEdge(dut.clk)
            if getattr(dut, f"bus__{channel}ready").value == 1:
                break
        getattr(dut, f"bus__{channel}valid").value = 0

    cocotb.start_soon(watch())
    for strobe, (aw_delay, w_delay) in product((15, 0, 1, 8), ((0, 0), (0, 7), (7, 0), (1, 0), (0, 1))):
        word, address = random.randrange(1, 4), offset if random.random() < 0.8 else 0xFFC
        before = len(pulses)
        address_sent = cocotb.start_soon(drive("aw", aw_delay, awaddr=address))
        data_sent = cocotb.start_soon(drive("w", w_delay, wdata=word, wstrb=strobe))
        await address_sent
        await data_sent
        while dut.bus__bvalid.value != 1:
            await RisingEdge(dut.clk)
        await tick(dut, random.randrange(4))
        await settle()
        assert dut.bus__bvalid.value == 1
        assert int(dut.bus__bresp.value) == (OKAY if address == offset else SLVERR)
        await RisingEdge(dut.clk)
        dut.bus__bready.value = 1
        await RisingEdge(dut.clk)
        dut.bus__bready.value = 0
        await tick(dut, 3)
        carried_out = address == offset and strobe
        assert pulses[before:] == ([word if strobe & 1 else 0] if carried_out else [])
