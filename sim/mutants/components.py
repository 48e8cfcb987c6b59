"""Which components are mutated, with the parameters of which case of their testbench, and how often."""

from dataclasses import dataclass

__all__ = ["COMPONENTS", "Component"]


@dataclass(frozen=True)
class Component:
    """``count`` mutants of what a testbench builds for a case: its first one, which the fast tests run.

    ``modules`` are those of its netlist that have mutants; without any, all have. ``is_small``: twenty of them take a
    minute or so, with the build.
    """

    testbench: str
    case: str
    count: int
    modules: tuple[str, ...] = ()
    is_small: bool = False


COMPONENTS = (
    Component("buffer", "three_banks", 60, is_small=True),
    Component("control", "node", 60, is_small=True),
    Component("fetch", "narrow", 80, is_small=True),
    Component("isolate", "narrow", 60, is_small=True),
    Component("issue", "vector", 70, is_small=True),
    Component("link", "tn8-link8", 150),
    Component("load", "four_ports", 110),
    Component("matrix", "packed", 100),
    Component("node", "tiny", 40, ("top", "top.core")),  # the others have testbenches of their own
    Component("pe_array", "packed", 40, is_small=True),
    Component("read_mux", "8_bytes", 40, is_small=True),
    Component("requantize", "lanes8", 60, is_small=True),
    Component("send", "tn8-link8", 80),
    Component("store", "four_ports", 120),
    Component("supervisor", "node", 60, is_small=True),
    Component("vector", "lanes8", 120),
)
