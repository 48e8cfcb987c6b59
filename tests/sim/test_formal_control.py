"""Proofs: software gets one answer for each request, and a reset never cuts off what is under way."""

from amaranth.hdl import Array, Assert, Assume, Cat, Mux, Signal
from amaranth.lib import data
from proofs import Fault, Proof, checks_of, stable

from superlip.rtl import control, supervisor
from superlip.rtl.control import OKAY, SLVERR
from superlip.rtl.registers import Register
from superlip.sim.formal import Spec

REGISTERS = (
    Register("SETTING", 0x0, "rw", 12, "", reset=5),
    Register("COMMAND", 0x4, "command", 2, ""),
    Register("VALUE", 0x8, "ro", 3, ""),
    Register("NAME", 0xC, "const", 32, "", reset=0xA5),
)


class WritesSpec(Spec):
    """A write does what it says once, after its address and its data; its answer says whether it did."""

    def __init__(self, module):
        super().__init__(module.Control(REGISTERS))

    def claim(self, m, dut):
        bus = dut.bus
        # What came and is not answered: at most one whose answer is offered, and one more, of each channel.
        fields = {"aw": data.StructLayout({"addr": 12}), "w": data.StructLayout({"data": 32, "strb": 4})}
        oldest, count, answered = {}, {}, bus.bvalid & bus.bready
        for channel, layout in fields.items():
            items, level = Array(Signal(layout, name=f"{channel}{k}") for k in range(2)), Signal(2)
            came = getattr(bus, f"{channel}valid") & getattr(bus, f"{channel}ready")
            with m.If(answered):
                m.d.sync += items[0].eq(items[1])
            with m.If(came):
                m.d.sync += [
                    items[level - answered][name].eq(getattr(bus, f"{channel}{name}")) for name in layout.members
                ]
            m.d.sync += level.eq(level + came - answered)
            m.d.comb += Assert(level <= 2)
            # The one that is carried out next, if it is there: behind the one whose answer is offered.
            oldest[channel], count[channel] = items, level
        address, write = oldest["aw"][bus.bvalid].addr, oldest["w"][bus.bvalid]
        enable = Cat(bit.replicate(8) for bit in write.strb)
        pending = {channel: level > bus.bvalid for channel, level in count.items()}
        act = pending["aw"] & pending["w"] & ~bus.bvalid
        setting, accepted = Signal(12, init=5), Signal()
        place = address[2:]
        with m.If(act):
            m.d.sync += accepted.eq((place == 0) | (place == 1))
            with m.If(place == 0):
                m.d.sync += setting.eq((setting & ~enable[:12]) | (write.data & enable)[:12])
        command, acted = dut.commands.COMMAND, Signal()
        m.d.sync += acted.eq(act)
        m.d.comb += [
            Assert(~bus.bvalid | ((count["aw"] != 0) & (count["w"] != 0))),  # none invented
            Assert(~bus.bvalid | (bus.bresp == Mux(accepted, OKAY, SLVERR))),
            Assert(~acted | bus.bvalid),  # none forgotten
            Assert(setting == dut.settings.SETTING),
            Assert(command.write == (act & (place == 1) & write.strb.any())),
            Assert(~command.write | (command.bits == (write.data & enable)[:2])),
        ]
        stable(m, bus, "b", ("resp",))
        # Inside: what has come and is not carried out.
        m.d.comb += [
            Assert(count["aw"] == self.inside("have_address") + bus.bvalid),
            Assert(count["w"] == self.inside("have_data") + bus.bvalid),
            Assert(~pending["aw"] | (self.inside("write_address") == place)),
            Assert(~pending["w"] | ((self.inside("word") == write.data) & (self.inside("strobe") == write.strb))),
        ]


class ReadsSpec(Spec):
    """Each read is answered once, in order, with its register's value."""

    def __init__(self, module):
        super().__init__(module.Control(REGISTERS))

    def claim(self, m, dut):
        bus = dut.bus
        place, owed, age = Signal(10), Signal(), Signal(2)
        value, known = Signal(32), Signal()
        came, answered = bus.arvalid & bus.arready, bus.rvalid & bus.rready
        with m.If(came):
            m.d.sync += [place.eq(bus.araddr[2:]), owed.eq(1), age.eq(0)]
        with m.Else():
            m.d.sync += [owed.eq(owed & ~answered), age.eq(Mux(bus.rvalid, 0, age + owed))]
        with m.If(owed & ~bus.rvalid):  # the value is that of the cycle before the answer
            m.d.sync += [known.eq(place < len(REGISTERS)), value.eq(0)]
            for index, now in enumerate((dut.settings.SETTING, 0, dut.values.VALUE, 0xA5)):
                with m.If(place == index):
                    m.d.sync += value.eq(now)
        m.d.comb += [
            Assert(~(came & owed) | answered),
            Assert(~bus.rvalid | owed),  # none invented
            Assert(~bus.rvalid | ((bus.rdata == value) & (bus.rresp == Mux(known, OKAY, SLVERR)))),
            Assert(age < 2),  # none forgotten
        ]
        stable(m, bus, "r", ("data", "resp"))
        m.d.comb += Assert(self.inside("pending") == (owed & ~bus.rvalid))
        m.d.comb += Assert(~owed | bus.rvalid | (self.inside("read_address") == place))


class SupervisorSpec(Spec):
    """A reset waits until nothing is under way, is held as long as asked for, and leaves nothing behind.

    Assumed: while isolated, ports that are quiet stay so, as is proved of them (test_formal_isolate.py).
    """

    def __init__(self, module):
        super().__init__(module.Supervisor())

    def claim(self, m, dut):
        report = dut.report
        was = {}
        for name, value in (
            ("isolate", dut.isolate), ("reset", dut.reset), ("quiet", dut.quiet), ("request", dut.reset_request),
            ("begin", dut.begin), ("failed", report.error.valid), ("running", report.running), ("idle", dut.idle),
            ("halt", dut.halt), ("done", report.done), ("start", dut.start), ("resetting", report.resetting),
        ):  # fmt: skip
            was[name] = Signal.like(value, name=f"was_{name}")
            m.d.sync += was[name].eq(value)
        begun, error, part = Signal(), Signal.like(report.error.as_value()), Signal.like(report.part)
        m.d.sync += [begun.eq(1), error.eq(report.error), part.eq(report.part)]
        m.d.comb += Assume(~(was["isolate"] & dut.isolate & was["quiet"]) | dut.quiet)
        # Reset.
        since = Signal(2)  # cycles that isolated ports have been quiet without a reset
        m.d.sync += since.eq(Mux(dut.isolate & dut.quiet & ~dut.reset, since + 1, 0))
        m.d.comb += [
            Assert(~dut.reset | (dut.isolate & was["isolate"] & dut.quiet & was["quiet"])),
            Assert(~was["request"] | dut.isolate),
            Assert(~(was["request"] & was["reset"]) | dut.reset),
            Assert(~was["isolate"] | dut.isolate | (was["reset"] & ~was["request"])),
            Assert(~(was["reset"] & ~was["request"]) | (~dut.reset & ~dut.isolate)),
            Assert(since < 2),
            Assert(~dut.isolate | (dut.halt & report.resetting & ~dut.begin)),
            Assert(~was["reset"] | (~report.error.valid & ~report.done & ~report.running)),
            Assert(~(was["isolate"] & ~was["reset"] & was["failed"]) | (report.error.as_value() == error)),
        ]
        operate, quiesce, hold = (self.state("reset_state", name) for name in ("OPERATE", "QUIESCE", "HOLD"))
        m.d.comb += [
            Assert(operate | quiesce | hold),
            Assert(dut.isolate == ~operate),
            Assert(dut.reset == hold),
        ]
        # Errors: the first one is kept until a reset, and stops everything.
        first, source = Signal(), Signal.like(report.part)
        for number, candidate in reversed(list(enumerate(dut.errors))):
            with m.If(candidate.valid):
                m.d.comb += [first.eq(1), source.eq(number)]
        seen, name = Signal(), Signal.like(source)
        m.d.sync += [seen.eq(first & ~dut.isolate & ~report.error.valid), name.eq(source)]
        m.d.comb += [
            Assert(~(was["failed"] & ~was["reset"]) | ((report.error.as_value() == error) & (report.part == part))),
            Assert(~seen | (report.error.valid & (report.part == name))),
            Assert(~report.error.valid | (dut.halt & dut.irq & ~dut.begin)),
        ]
        # Programs: one begins for each start that counts, and is over when all is idle or something failed.
        wanted = Signal()
        counts = dut.start & (report.resetting | ~(report.running | report.error.valid))
        m.d.sync += wanted.eq(counts | (wanted & ~dut.begin))
        waiting = wanted & ~report.resetting & ~report.running & ~report.error.valid
        over = was["running"] & (was["idle"] | was["halt"])
        m.d.comb += [
            Assert(dut.begin == waiting),
            Assert(self.inside("wanted") == wanted),
            Assert(~was["begin"] | (report.running & ~report.done)),
            Assert(~over | ~report.running),
            Assert(~over | was["halt"] | report.done),
            Assert(~(report.running & begun) | was["running"] | was["begin"]),
            Assert(~(report.done & begun) | was["done"] | (was["running"] & was["idle"] & ~was["halt"])),
        ]


PROOFS = [
    Proof(
        component="Supervisor",
        claim="reset only when the isolated ports are quiet, at the latest a cycle after they are, for as long as "
        "it is asked for; the node is isolated from the cycle after a request until the reset is over; no error, "
        "result or run outlives it. The first error is kept until then and halts; each start that counts begins one "
        "run, also one during a reset; `done` exactly when a run ends idle and not halted",
        module=supervisor,
        spec=SupervisorSpec,
        depth=3,
        faults=(
            Fault(name="reset while a burst is under way", old="self.isolate & self.quiet", new="self.isolate"),
            Fault(
                name="ports joined before the reset",
                old="[self.reset.eq(0), self.isolate.eq(0)]",
                new="self.reset.eq(0)",
            ),
            Fault(
                name="an error replaced by a later one",
                old="with m.If(~error.valid & ~self.isolate)",
                new="with m.If(~self.isolate)",
            ),
            Fault(name="a start lost in a reset", old="self.start & (report.resetting | ~(", new="self.start & (~("),
        ),
    ),
    Proof(
        component="Control, writes",
        claim="each write of an address and data, in whatever order they come, is carried out once and answered once, "
        "in order, none invented; OKAY exactly if its register can be written; strobes honoured (a register of "
        "each access)",
        module=control,
        spec=WritesSpec,
        depth=3,
        faults=(
            Fault(name="an answer without data", old="have_address & have_data &", new="have_address &"),
            Fault(name="an answer lost", old="have_address & have_data & ~bus.bvalid", new="have_address & have_data"),
            Fault(name="strobes ignored", old="kept = setting & ~enable[: r.width]", new="kept = 0"),
        ),
    ),
    Proof(
        component="Control, reads",
        claim="each read is answered once, in order, none invented, two cycles after its address, with its register's "
        "value and OKAY, or SLVERR where there is none (a register of each access)",
        module=control,
        spec=ReadsSpec,
        depth=3,
        faults=(
            Fault(name="two under way", old="bus.arready.eq(~pending & ~bus.rvalid)", new="bus.arready.eq(~pending)"),
            Fault(name="answered twice", old="m.d.sync += [pending.eq(0), bus", new="m.d.sync += [bus"),
        ),
    ),
]

test_proof, test_fault_is_found = checks_of(PROOFS)
