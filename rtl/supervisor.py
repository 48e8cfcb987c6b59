"""Start, end, errors, watchdog and run counters of a node: what stands between its registers and its units."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out, Signature

from .config import Limit
from .counters import lowest_bit
from .isa import COUNTERS, Unit
from .parameters import Component
from .ports import UnitError, error_layout, status_layout
from .registers import ERROR_UNIT_FETCH, ERROR_UNIT_LINK, ERROR_UNIT_WATCHDOG

__all__ = ["PARTS", "Supervisor", "events_layout", "Report"]

PARTS = 1 + max(ERROR_UNIT_FETCH, ERROR_UNIT_LINK)
"""Parts that report errors: the units by their number, then fetch and link."""

COUNTER_BITS = 32
"""Width of a counter of cycles, words or flits: that of a register."""


def events_layout():
    """What happens in a cycle: one bit each."""
    return data.StructLayout({"read": 1, "write": 1, "tx_flit": 1, "rx_flit": 1, "progress": 1})


class Report(Signature):
    """State of the node and counters, for the registers.

    Parameters
    ----------
    counter_bits : int
        Width of a counter; ``cycles`` has twice as many. All begin again at 0 after their largest number.
    """

    def __init__(self, counter_bits=COUNTER_BITS):
        unit = Signature({name: Out(counter_bits) for name in ("busy", "stalled", "waiting")})
        super().__init__(
            {
                "running": Out(1),
                "done": Out(1),
                "resetting": Out(1),
                "error": Out(error_layout()),
                "part": Out(4),
                "cycles": Out(2 * counter_bits),
                **{name: Out(counter_bits) for name in ("read", "write", "tx_flit", "rx_flit")},
                "units": Out(unit).array(len(Unit)),
            }
        )


class Supervisor(Component):
    """Runs programs one at a time and notices what goes wrong.

    A start is remembered until a reset in progress is over, and ignored while a program runs or after an
    error. The program is done when everything is idle again.

    The first error of any part is kept (of several in one cycle, that of the lowest number) and halts the
    node. The watchdog is an error of its own: a running node in which nothing has moved for ``watchdog``
    cycles. It names the unit at the root of the hang: one that waits for a post of a source with nothing to
    do, if there is one; or else the first that waits, the first that executes, or fetch.

    While ``reset_request`` is high, and until the AXI ports are quiet, the node is halted and isolated;
    ``reset`` is raised when they are, and held as long as the request.

    Reset ends the run, forgets a start and the error, and makes all counters 0; ``reset`` leaves those of the run.

    Parameters
    ----------
    counter_bits : int
        Width of the counters in ``report`` and of ``watchdog``; by default 32, as registers have.

    Members
    -------
    start : In(1)
    reset_request : In(1)
    watchdog : In(counter_bits)
        Cycles; 0: never.
    quiet : In(1)
        Nothing is under way on the isolated AXI ports.
    idle : In(1)
        Nothing is left of the program.
    errors : In(error_layout()).array(PARTS)
    status : In(status_layout()).array(6)
    events : In(events_layout())
    begin : Out(1)
        Start fetching.
    halt, isolate, reset : Out(1)
    irq : Out(1)
        The program is done, or a part has failed: high until the next start or reset.
    report : Out(Report(counter_bits))
    """

    def __init__(self, *, counter_bits=COUNTER_BITS):
        Limit(1, COUNTER_BITS, power_of_two=False).check("counter_bits", counter_bits)
        self.counter_bits = counter_bits
        super().__init__(
            {
                "start": In(1),
                "reset_request": In(1),
                "watchdog": In(counter_bits),
                "quiet": In(1),
                "idle": In(1),
                "errors": In(error_layout()).array(PARTS),
                "status": In(status_layout()).array(len(Unit)),
                "events": In(events_layout()),
                "begin": Out(1),
                "halt": Out(1),
                "isolate": Out(1),
                "reset": Out(1),
                "irq": Out(1),
                "report": Out(Report(counter_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        report = self.report
        m.d.comb += [
            self.halt.eq(report.error.valid | self.isolate),
            self.irq.eq(report.done | report.error.valid),
            report.resetting.eq(self.reset_request | self.isolate),
        ]
        self._run(m)
        self._reset(m)
        self._catch(m, self._hang(m))
        self._count(m)
        return m

    def _run(self, m):
        report = self.report
        wanted = Signal()
        m.d.comb += self.begin.eq(wanted & ~report.resetting & ~report.running & ~report.error.valid)
        with m.If(self.start & (report.resetting | ~(report.running | report.error.valid))):
            m.d.sync += wanted.eq(1)
        with m.Elif(self.begin):
            m.d.sync += wanted.eq(0)
        with m.If(self.begin):
            m.d.sync += [report.running.eq(1), report.done.eq(0)]
        with m.Elif(report.running & (self.idle | self.halt)):
            m.d.sync += [report.running.eq(0), report.done.eq(~self.halt)]

    def _reset(self, m):
        with m.FSM(name="reset_state"):
            with m.State("OPERATE"), m.If(self.reset_request):
                m.d.sync += self.isolate.eq(1)
                m.next = "QUIESCE"
            with m.State("QUIESCE"), m.If(self.isolate & self.quiet):
                m.d.sync += self.reset.eq(1)
                m.next = "HOLD"
            with m.State("HOLD"), m.If(~self.reset_request):
                m.d.sync += [self.reset.eq(0), self.isolate.eq(0)]
                m.next = "OPERATE"
        with m.If(self.reset):
            m.d.sync += [self.report.error.eq(0), self.report.done.eq(0)]

    def _catch(self, m, hang):
        """Latch the first error. ``hang`` is the watchdog's."""
        error, part = self.report.error, self.report.part
        sources = [*enumerate(self.errors), (ERROR_UNIT_WATCHDOG, hang)]
        with m.If(~error.valid & ~self.isolate):
            for number, source in reversed(sources):  # the last assignment wins
                with m.If(source.valid):
                    m.d.sync += [error.eq(source), part.eq(number)]

    def _hang(self, m):
        """The watchdog's error, valid in the cycle in which its time is over."""
        timer, hang = Signal(self.counter_bits), Signal(error_layout())
        with m.If(self.events.progress | ~self.report.running):
            m.d.sync += timer.eq(0)
        with m.Else():
            m.d.sync += timer.eq(timer + 1)
        unit, lacking = self._blame(m)
        m.d.comb += [
            hang.valid.eq(self.report.running & self.watchdog.any() & (timer >= self.watchdog)),
            hang.code.eq(UnitError.WATCHDOG),
            hang.syndrome.eq(Cat(unit, lacking)),
        ]
        return hang

    def _blame(self, m):
        """(unit, lacking) at the root of a hang, of 8 bits each."""
        waiting, busy, active, roots, chosen = (Signal(len(Unit)) for _ in range(5))
        unit, lacking, links = Signal(8), Signal(COUNTERS), Const(0, COUNTERS - len(Unit))
        m.d.comb += [
            waiting.eq(Cat(s.waiting for s in self.status)),
            busy.eq(Cat(s.busy for s in self.status)),
            active.eq(waiting | busy),
            # Sources 6 and 7 are never active here: what waits for another node is at the root as well.
            roots.eq(Cat(s.waiting & (s.lacking & ~Cat(active, links)).any() for s in self.status)),
            chosen.eq(Mux(roots.any(), roots, Mux(waiting.any(), waiting, busy))),
            unit.eq(Mux(active.any(), lowest_bit(chosen), ERROR_UNIT_FETCH)),
        ]
        for s, bit in reversed(list(zip(self.status, chosen, strict=True))):
            with m.If(bit):
                m.d.comb += lacking.eq(s.lacking)
        return unit, lacking

    def _count(self, m):
        report, events = self.report, self.events
        per_run = [(report.cycles, 1), (report.read, events.read), (report.write, events.write)]
        for counters, status in zip(report.units, self.status, strict=True):
            per_run += [(getattr(counters, name), status[name]) for name in ("busy", "stalled", "waiting")]
        with m.If(self.begin):
            m.d.sync += [counter.eq(0) for counter, _ in per_run]
        with m.Elif(report.running):
            m.d.sync += [counter.eq(counter + event) for counter, event in per_run]
        with m.If(self.reset):
            m.d.sync += [report.tx_flit.eq(0), report.rx_flit.eq(0)]
        with m.Else():
            m.d.sync += report.tx_flit.eq(report.tx_flit + events.tx_flit)
            m.d.sync += report.rx_flit.eq(report.rx_flit + events.rx_flit)
