"""Which components are mutated, with the parameters of which case of their testbench, and how often."""

from dataclasses import dataclass

__all__ = ["COMPONENTS", "Component"]


@dataclass(frozen=True)
class Component:
    """``count`` mutants of what a testbench builds for a case: its first one, which the fast tests run.

    ``inside`` names the modules that may have mutants, by the end of their names; by default all may.
    """

    testbench: str
    case: str
    count: int
    inside: tuple[str, ...] = ()

    def within(self, module):
        """Whether mutants may be in a module of the netlist (``top.core.fetch``)."""
        return not self.inside or module.rpartition(".")[2] in self.inside


COMPONENTS = (
    Component("buffer", "three_banks", 60),
    Component("control", "node", 60),
    Component("fetch", "narrow", 80),
    Component("isolate", "narrow", 60),
    Component("issue", "vector", 70),
    Component("link", "tn8-link8", 150),
    Component("load", "four_ports", 110),
    Component("matrix", "packed", 100),
    Component("pe_array", "packed", 40),
    Component("read_mux", "8_bytes", 40),
    Component("requantize", "lanes8", 60),
    Component("send", "tn8-link8", 80),
    Component("store", "four_ports", 120),
    Component("supervisor", "node", 60),
    Component("vector", "lanes8", 120),
)
