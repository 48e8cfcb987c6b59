"""AXI4-Lite slave for a list of registers."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out, Signature

from .config import Limit
from .parameters import Component
from .ports import AXI4Lite
from .registers import Register

__all__ = ["OKAY", "SLVERR", "Control"]

OKAY, SLVERR = 0, 2
ACCESSES = ("rw", "ro", "const", "command")


class Control(Component):
    """Serves registers to software over AXI4-Lite.

    AW and W may come in any order; one write and one read are under way at a time. An access to an offset
    without a register, and a write to a register that can't be written, is answered with SLVERR and does
    nothing. The low two bits of an address are ignored; write strobes are honoured.

    Latency: a read is answered 2 cycles after its address, a write 1 cycle after the later of address and
    data.

    Reset puts settings back to their first values and drops accesses under way: the bus is to be reset, too.

    Parameters
    ----------
    registers : sequence of Register
        The map; each name gives a member of ``settings``, ``values`` or ``commands``.

    Members
    -------
    bus : In(AXI4Lite)
    settings : Out
        One member for each "rw" register.
    values : In
        One member for each "ro" register.
    commands : Out
        One struct for each "command" register: ``write`` is high for the one cycle in which ``bits`` are
        written.

    Raises
    ------
    ValueError
        If there is no register, two share an offset or a name, an offset is not a multiple of 4 below 4096, a register
        is wider than 32 bits, or its access is none of the four.
    """

    def __init__(self, registers):
        self.registers = tuple(registers) if isinstance(registers, Iterable) else ()
        if not self.registers or not all(isinstance(r, Register) for r in self.registers):
            raise ValueError(f"registers must be one or more of the type Register, not {registers!r}")
        for attribute in ("name", "offset"):
            seen = [getattr(r, attribute) for r in self.registers]
            if len(set(seen)) < len(seen):
                raise ValueError(f"two registers share their {attribute}")
        for r in self.registers:
            if r.offset % 4 or not 0 <= r.offset < 1 << 12:
                raise ValueError(f"offset {r.offset:#x} of register {r.name} is not a multiple of 4 below 4096")
            Limit(1, 32, power_of_two=False).check(f"width of register {r.name}", r.width)
            if r.access not in ACCESSES:
                raise ValueError(f"access of register {r.name} must be one of {', '.join(ACCESSES)}, not {r.access!r}")
        super().__init__(
            {
                "bus": In(AXI4Lite()),
                "settings": Out(Signature({r.name: Out(r.width, init=r.reset) for r in self._with("rw")})),
                "values": In(Signature({r.name: Out(r.width) for r in self._with("ro")})),
                "commands": Out(Signature({r.name: Out(_command(r)) for r in self._with("command")})),
            }
        )

    def _with(self, access):
        return [r for r in self.registers if r.access == access]

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _write(self, m):
        bus = self.bus
        write_address = Signal(10)
        word = Signal(32)
        strobe = Signal(4)
        have_address = Signal()
        have_data = Signal()
        m.d.comb += [bus.awready.eq(~have_address), bus.wready.eq(~have_data)]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [have_address.eq(1), write_address.eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [have_data.eq(1), word.eq(bus.wdata), strobe.eq(bus.wstrb)]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)

        enable = Cat(bit.replicate(8) for bit in strobe)
        with m.If(have_address & have_data & ~bus.bvalid):
            m.d.sync += [have_address.eq(0), have_data.eq(0), bus.bvalid.eq(1), bus.bresp.eq(SLVERR)]
            with m.Switch(write_address):
                for r in self._with("rw"):
                    setting = getattr(self.settings, r.name)
                    with m.Case(r.offset >> 2):
                        kept = setting & ~enable[: r.width]
                        m.d.sync += setting.eq(kept | (word & enable)[: r.width])
                        m.d.sync += bus.bresp.eq(OKAY)
                for r in self._with("command"):
                    with m.Case(r.offset >> 2):
                        command = getattr(self.commands, r.name)
                        m.d.comb += [command.write.eq(strobe.any()), command.bits.eq(word & enable)]
                        m.d.sync += bus.bresp.eq(OKAY)

    def _read(self, m):
        bus = self.bus
        read_address = Signal(10)
        pending = Signal()
        m.d.comb += bus.arready.eq(~pending & ~bus.rvalid)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [pending.eq(1), read_address.eq(bus.araddr[2:])]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)
        with m.If(pending):
            m.d.sync += [pending.eq(0), bus.rvalid.eq(1), bus.rdata.eq(0), bus.rresp.eq(SLVERR)]
            with m.Switch(read_address):
                for r in self.registers:
                    with m.Case(r.offset >> 2):
                        m.d.sync += [bus.rdata.eq(self._value(r)), bus.rresp.eq(OKAY)]

    def _value(self, register):
        match register.access:
            case "const":
                return register.reset
            case "rw":
                return getattr(self.settings, register.name)
            case "ro":
                return getattr(self.values, register.name)
        return 0


def _command(register):
    return data.StructLayout({"write": 1, "bits": register.width})
