"""Faults that somebody might make, planted one at a time: the component's fast testbench notices each.

``make mutants`` does this for faults that nobody thought of.
"""

import inspect
import textwrap

import pytest

from superlip.rtl.axi import BurstSplitter, StripedAddress
from superlip.rtl.isolate import IsolateWrite
from superlip.rtl.link.credits import CreditGiver
from superlip.rtl.load import Load
from superlip.rtl.memory import BankedMemory
from superlip.rtl.store import Store
from superlip.rtl.wide_memory import WideMemory
from superlip.sim.runner import load_testbench, run_bench

FAULTS = {
    "a credit is lost when a slot is freed and taken in one cycle": (
        CreditGiver, "elaborate", "self.grant + self.freed", "self.grant + (self.freed & ~self.taken)",
        "link", "delivers",
    ),
    "beats of an isolated write keep their strobes": (
        IsolateWrite, "elaborate", "i.wstrb & ~self.isolate.replicate(len(i.wstrb))", "i.wstrb", "isolate", None,
    ),
    "STORE is done when port 0 has answered": (
        Store, "_build_responses", "retire.eq(Cat(answered).all())", "retire.eq(answered[0])", "store", "copies",
    ),
    "LOAD has the stripes of ports 2 and 3 exchanged": (
        StripedAddress, "elaborate", "& -PAGE) * index", "& -PAGE) * {2: 3, 3: 2}.get(index, index)",
        "load", "copies",
    ),
    "STORE has the stripes of ports 2 and 3 exchanged": (
        StripedAddress, "elaborate", "& -PAGE) * index", "& -PAGE) * {2: 3, 3: 2}.get(index, index)",
        "store", "copies",
    ),
    "LOAD keeps a place less than it asks for, with each burst": (
        Load, "_build_addresses", "received - Mux(issue, beats, 0)", "received - Mux(issue, beats - 1, 0)",
        "load", "writes_wait",
    ),
    "a bank's arbitration does not see the neighbour": (
        BankedMemory, "_arbitrate", "if n != index]", "if n not in (index, index - 1)]",
        "buffer", "random_traffic",
    ),
    "half of a read of two words is granted": (
        WideMemory, "_wide", "Cat(port.ready for port in ports).all()", "Cat(port.ready for port in ports).any()",
        "wide_memory", "random_traffic",
    ),
    "a read of two words keeps one from others while it waits for the other": (
        WideMemory, "_wide", "self.wide.valid & others", "self.wide.valid", "wide_memory", "half_a_read_is_none",
    ),
    "a burst goes one beat over 4 KiB": (
        BurstSplitter, "elaborate", "to_page.eq(page - run.start[: exact_log2(page)])",
        "to_page.eq(page - run.start[: exact_log2(page)] + 1)", "store", "copies",
    ),
}  # fmt: skip


def plant(monkeypatch, component, method, old, new):
    """Replace a piece of the text of a method, which must be there once."""
    function = getattr(component, method)
    text = textwrap.dedent(inspect.getsource(function))
    assert text.count(old) == 1, f"{component.__name__}.{method} has changed: plant the fault anew"
    scope: dict[str, object] = {}
    exec(text.replace(old, new), function.__globals__, scope)
    monkeypatch.setattr(component, method, scope[method])


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.replace(" ", "-"))
def test_a_fault_is_noticed(fault, monkeypatch, seed, tmp_path):
    component, method, old, new, testbench, test = FAULTS[fault]
    plant(monkeypatch, component, method, old, new)
    case = next(iter(load_testbench(testbench).CASES))  # the one that the fast tests run, where it passes
    with pytest.raises(AssertionError, match=rf"testbench {testbench}\[{case}\] seed \d+: \d+ of \d+ tests failed"):
        run_bench(testbench, case, seed=seed, folder=tmp_path, test=test)
