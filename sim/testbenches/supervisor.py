"""Supervisor against a model in plain Python, cycle by cycle: starts, resets, errors, the watchdog, counters.

Its first case has counters so narrow that all of them wrap.
"""

import cocotb
from cocotb.triggers import RisingEdge

from superlip.rtl.isa import Unit
from superlip.rtl.ports import UnitError
from superlip.rtl.registers import ERROR_UNIT_FETCH, ERROR_UNIT_WATCHDOG
from superlip.rtl.supervisor import PARTS, Supervisor
from superlip.sim.runner import case, rng
from superlip.sim.testbenches._streams import start

CASES = {"narrow": {"counter_bits": 4}, "node": {"counter_bits": 32}}

UNITS = len(Unit)
EVENTS = ("read", "write", "tx_flit", "rx_flit", "progress")
# Not ``begin``, a name that Verilog keeps for itself; the counters and ``running`` show it in the next cycle.
OUTPUTS = ("halt", "isolate", "reset", "irq", *(f"report__{name}" for name in (
    "running", "done", "resetting", "error", "part", "cycles", "read", "write", "tx_flit", "rx_flit",
    *(f"units__{unit}__{name}" for unit in range(UNITS) for name in ("busy", "stalled", "waiting")))))  # fmt: skip


def build(counter_bits):
    return Supervisor(counter_bits=counter_bits)


class Model:
    """State behind the outputs; ``inputs`` is a dict as ``random_inputs`` makes it."""

    def __init__(self):
        self.wanted = self.running = self.done = self.isolate = self.reset = self.timer = 0
        self.error = self.part = 0  # the error as on the ports: valid, code << 1, syndrome << 5
        self.state = "operate"
        self.counters = dict.fromkeys(OUTPUTS[9:], 0)
        self.bits = dict.fromkeys(self.counters, case()["counter_bits"]) | {
            "report__cycles": 2 * case()["counter_bits"]
        }
        self.wrapped = set()  # counters

    def outputs(self, inputs):
        resetting = inputs["reset_request"] | self.isolate
        return {
            "begin": int(self.wanted and not (resetting or self.running or self.error & 1)),
            "halt": self.error & 1 | self.isolate,
            "isolate": self.isolate,
            "reset": self.reset,
            "irq": self.done | self.error & 1,
            "report__running": self.running,
            "report__done": self.done,
            "report__resetting": resetting,
            "report__error": self.error,
            "report__part": self.part,
            **self.counters,
        }

    def step(self, inputs):
        now = self.outputs(inputs)
        caught = self._caught(inputs) if not (self.error & 1 or self.isolate) else None
        self._count(inputs, now)
        self.timer = 0 if inputs["progress"] or not self.running else (self.timer + 1) % (1 << case()["counter_bits"])
        if inputs["start"] and (now["report__resetting"] or not (self.running or self.error & 1)):
            self.wanted = 1
        elif now["begin"]:
            self.wanted = 0
        if now["begin"]:
            self.running, self.done = 1, 0
        elif self.running and (inputs["idle"] or now["halt"]):
            self.running, self.done = 0, int(not now["halt"])
        if self.reset:
            self.error = self.done = 0
        if caught:
            self.part, self.error = caught
        self._step_reset(inputs)

    def _step_reset(self, inputs):
        if self.state == "operate" and inputs["reset_request"]:
            self.state, self.isolate = "quiesce", 1
        elif self.state == "quiesce" and inputs["quiet"]:
            self.state, self.reset = "hold", 1
        elif self.state == "hold" and not inputs["reset_request"]:
            self.state, self.isolate, self.reset = "operate", 0, 0

    def _caught(self, inputs):
        """(part, error) of the first error in this cycle, or None."""
        for part, error in enumerate(inputs["errors"]):
            if error & 1:
                return part, error
        if self.running and 0 < inputs["watchdog"] <= self.timer:
            unit, lacking = blame(inputs["status"])
            return ERROR_UNIT_WATCHDOG, 1 | UnitError.WATCHDOG << 1 | (unit | lacking << 8) << 5
        return None

    def _count(self, inputs, now):
        counters = self.counters
        for name in ("tx_flit", "rx_flit"):
            counters[f"report__{name}"] = 0 if self.reset else counters[f"report__{name}"] + inputs[name]
        added = {"report__cycles": 1, "report__read": inputs["read"], "report__write": inputs["write"]}
        for unit, status in enumerate(inputs["status"]):
            added |= {f"report__units__{unit}__{n}": status[n] for n in ("busy", "stalled", "waiting")}
        for name, count in added.items():
            if now["begin"]:
                counters[name] = 0
            elif self.running:
                counters[name] += count
        self.wrapped |= {name for name, count in counters.items() if count >> self.bits[name]}
        for name, bits in self.bits.items():
            counters[name] &= (1 << bits) - 1


def blame(status):
    """(unit, lacking) at the root of a hang."""
    active = sum(1 << u for u, s in enumerate(status) if s["waiting"] or s["busy"])
    waiting = [u for u, s in enumerate(status) if s["waiting"]]
    roots = [u for u in waiting if status[u]["lacking"] & ~active]
    for units in (roots, waiting, [u for u, s in enumerate(status) if s["busy"]]):
        if units:
            return units[0], status[units[0]]["lacking"]
    return ERROR_UNIT_FETCH, 0


def random_inputs(r, mood):
    """Inputs of one cycle. ``mood``: chances of what is rare; errors of part ``only``, if that is in it; ``hang``."""
    status = []
    for _ in range(UNITS):
        one = {name: int(r.random() < mood["busy"]) for name in ("busy", "stalled", "waiting")}
        status.append(one | {"lacking": r.choice([0, 1 << r.randrange(8), r.getrandbits(8)]), "tag": r.getrandbits(16)})
    if "hang" in mood:  # one unit waits for one source, which does nothing; others are at work, or wait for that unit
        unit, source = mood["hang"]
        for number, one in enumerate(status):
            one |= {"waiting": one["waiting"] & (number != source), "busy": one["busy"] & (number != source)}
            one["lacking"] = 1 << unit
        status[unit] |= {"waiting": 1, "busy": 0, "lacking": 1 << source}
    errors = [
        r.getrandbits(36) << 1 | (part == mood.get("only", part) and r.random() < mood["error"])
        for part in range(PARTS)
    ]
    events = {name: r.getrandbits(1) for name in EVENTS} | {"progress": int(r.random() < mood["progress"])}
    return {"start": int(r.random() < 0.1), "reset_request": mood["reset"], "watchdog": mood["watchdog"],
            "quiet": int(r.random() < 0.3), "idle": int(r.random() < mood["idle"]), "errors": errors,
            "status": status, **events}  # fmt: skip


def drive(dut, inputs):
    for name in ("start", "reset_request", "watchdog", "quiet", "idle"):
        getattr(dut, name).value = inputs[name]
    for number, error in enumerate(inputs["errors"]):
        getattr(dut, f"errors__{number}").value = error
    for number, s in enumerate(inputs["status"]):
        word = s["busy"] | s["stalled"] << 1 | s["waiting"] << 2 | s["lacking"] << 3 | s["tag"] << 11
        getattr(dut, f"status__{number}").value = word
    dut.events.value = sum(inputs[name] << place for place, name in enumerate(EVENTS))


async def compare(dut, r, model, mood, cycles, seen):
    """Random cycles; ``seen`` collects the parts whose errors were caught."""
    for _ in range(cycles):
        inputs = random_inputs(r, mood)
        drive(dut, inputs)
        await RisingEdge(dut.clk)
        expected = model.outputs(inputs)
        del expected["begin"]
        got = {name: int(getattr(dut, name).value) for name in OUTPUTS}
        assert got == expected, {name: (got[name], expected[name]) for name in OUTPUTS if got[name] != expected[name]}
        if expected["report__error"]:
            seen.add(expected["report__part"])
        model.step(inputs)


@cocotb.test()
async def equals_model(dut):
    """Programs that end, fail and hang, and resets at any time."""
    r, model, seen = rng(), Model(), set()
    drive(dut, random_inputs(r, {"busy": 0, "error": 0, "progress": 0, "reset": 0, "watchdog": 0, "idle": 0})
          | {"start": 0})  # fmt: skip
    dut.events.value = 0
    await start(dut)
    bits = case()["counter_bits"]
    for turn in range(120):
        calm = {"busy": r.choice([0, 0.1, 0.5]), "error": 0, "reset": 0, "idle": r.choice([0, 0.02, 0.3])}
        limits = [0, 3, 9, 1 << r.randrange(bits), (1 << bits) - 1]
        calm |= {"progress": r.choice([0, 0.1, 0.9]), "watchdog": r.choice(limits)}
        await compare(dut, r, model, calm, r.randrange(5, 60), seen)
        if turn % 3 == 0:
            await compare(dut, r, model, calm | {"error": 0.2}, r.randrange(1, 5), seen)
        if r.random() < 0.7:
            await compare(dut, r, model, calm | {"reset": 1, "error": 0.05}, r.randrange(1, 12), seen)
    for part in sorted({*range(PARTS), ERROR_UNIT_WATCHDOG} - seen):  # those that chance has left out
        calm = {"busy": 0.1, "error": 0, "reset": 0, "idle": 0, "progress": 0, "watchdog": 3 * (part >= PARTS)}
        await compare(dut, r, model, calm | {"reset": 1}, 100, seen)
        await compare(dut, r, model, calm, 200, seen)
        await compare(dut, r, model, calm | {"error": 1, "only": part}, 2, seen)
        assert part in seen
    calm = {"busy": 0.9, "error": 0, "reset": 0, "idle": 0, "progress": 0.9, "watchdog": 0}
    await compare(dut, r, model, calm | {"reset": 1}, 100, seen)
    await compare(dut, r, model, calm, 600, seen)
    assert case()["counter_bits"] > 4 or model.wrapped == set(model.counters)


@cocotb.test()
async def hangs(dut):
    """Each unit waits for each source while others are at work, or wait for it: the watchdog's error says so."""
    r, model, seen = rng(), Model(), set()
    mood = {"busy": 0.5, "error": 0, "progress": 0, "reset": 0, "watchdog": 3, "idle": 0}
    drive(dut, random_inputs(r, mood) | {"start": 0})
    dut.events.value = 0
    await start(dut)
    for unit in Unit:
        for source in range(8):
            wanted = 1 | UnitError.WATCHDOG << 1 | (unit | 1 << source + 8) << 5
            while (model.part, model.error) != (ERROR_UNIT_WATCHDOG, wanted):
                await compare(dut, r, model, mood | {"reset": 1}, 8, seen)
                await compare(dut, r, model, mood | {"hang": (unit, source)}, 20, seen)
