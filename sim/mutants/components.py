"""Which components are mutated, with the parameters of which case of their testbench, and how often."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from superlip.rtl.axi import ReadMux
from superlip.rtl.config import NodeConfig
from superlip.rtl.control import Control
from superlip.rtl.fetch import Fetch
from superlip.rtl.isolate import IsolateRead, IsolateWrite
from superlip.rtl.issue import Issue
from superlip.rtl.link.port import LinkPort
from superlip.rtl.load import Load
from superlip.rtl.matrix import MatrixUnit
from superlip.rtl.memory import BankedMemory
from superlip.rtl.node import Node
from superlip.rtl.pe_array import PEArray
from superlip.rtl.requantize import Requantize
from superlip.rtl.send import Send
from superlip.rtl.store import Store
from superlip.rtl.supervisor import Supervisor
from superlip.rtl.vector import Vector
from superlip.rtl.wide_memory import WideMemory

from ..runner import load_testbench

__all__ = ["COMPONENTS", "Component"]


@dataclass(frozen=True)
class Component:
    """``count`` mutants of the first ``kind`` in what a testbench builds for a case.

    Parameters
    ----------
    kind : type
        Class of the component.
    testbench, case : str
        As for ``run_bench``; the case is its first one, which the fast tests run.
    count : int
    node : dict, optional
        Sizes of a node that has this very component, for ``NodeConfig``, beside those that are parameters of the case.
        Without it no node has the component.
    modules : tuple of str
        Those of the component's netlist that have mutants; without any, all have.
    in_stand_in : bool
        It is part of what the simulator has a stand-in for: its node is RTL alone.
    is_small : bool
        Twenty mutants take a minute or so, with the build.
    """

    kind: type
    testbench: Any
    case: str
    count: int
    node: Mapping[str, Any] | None = field(default=None, hash=False)
    modules: tuple[str, ...] = ()
    in_stand_in: bool = False
    is_small: bool = False

    @property
    def parameters(self):
        """Of the case: a dict."""
        return load_testbench(self.testbench).CASES[self.case]

    @property
    def sizes(self):
        """Of the node that has the component: a dict for its testbench; or None."""
        if self.node is None:
            return None
        names, parameters = [f.name for f in fields(NodeConfig)], self.parameters
        config = parameters.get("config")
        own = {n: getattr(config, n) for n in names} if config else {n: parameters[n] for n in names if n in parameters}
        return own | dict(self.node)

    @property
    def name(self):
        """Of its class."""
        return self.kind.__name__

    @property
    def bench(self):
        """Testbench and case."""
        return f"{load_testbench(self.testbench).__name__.rpartition('.')[2]}[{self.case}]"


_TINY: dict[str, Any] = {"tm": 8, "tn": 8}

COMPONENTS = (
    Component(BankedMemory, "buffer", "three_banks", 60, is_small=True),
    Component(Control, "control", "node", 60, _TINY, is_small=True),
    Component(Fetch, "fetch", "narrow", 80, {}, is_small=True),
    Component(IsolateRead, "isolate", "narrow", 30, _TINY | {"axi_ports": 2}, is_small=True),
    Component(IsolateWrite, "isolate", "narrow", 40, _TINY | {"axi_ports": 2}, is_small=True),
    Component(Issue, "issue", "vector", 70, _TINY, is_small=True),
    Component(LinkPort, "link", "tn8-link8", 150, {}),
    Component(Load, "load", "four_ports", 110, {}),
    Component(MatrixUnit, "matrix", "packed", 100, {}),
    Component(Node, "node", "tiny", 40, modules=("", ".core")),  # the others have testbenches of their own
    Component(PEArray, "pe_array", "packed", 40, {}, is_small=True),
    Component(ReadMux, "read_mux", "8_bytes", 40, _TINY, is_small=True),
    Component(Requantize, "requantize", "lanes8", 60, _TINY, in_stand_in=True, is_small=True),
    Component(Send, "send", "tn8-link8", 80, {}),
    Component(Store, "store", "four_ports", 120, {}),
    Component(Supervisor, "supervisor", "narrow", 60, is_small=True),  # a node has it with 32 bits
    Component(Vector, "vector", "lanes8", 120, _TINY | {"act_words": 1536, "act_banks": 3, "acc_words": 128}),
    Component(WideMemory, "wide_memory", "three_banks", 40, modules=("",), is_small=True),  # its parts are BankedMemory
)
