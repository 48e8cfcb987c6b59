"""Where the values of a graph lie."""

from collections.abc import Mapping
from types import MappingProxyType

from superlip.graph import ir
from superlip.ops.layout import Placement, Storage

__all__ = ["Places"]


class Places:
    """Places of values, while a graph is lowered.

    Parameters
    ----------
    values : dict of str to ir.Value
    tn : int
        Channels of a word.
    sections : dict of str to int
        By value, those whose storage has sections (`Storage.section`).

    Attributes
    ----------
    of : dict of str to Placement
        By value, those that have one.
    contents : dict of str to (str, int)
        Storage name -> (value, channel at which it begins).
    """

    def __init__(
        self, values: dict[str, ir.Value], tn: int, sections: Mapping[str, int] = MappingProxyType({})
    ) -> None:
        self.values, self.tn, self.sections = values, tn, sections
        self.of: dict[str, Placement] = {}
        self.contents: dict[str, tuple[str, int]] = {}

    def place(self, name: str) -> Placement:
        """Where a value lies: where it was put, else from now on in a storage of its own."""
        return self.of[name] if name in self.of else self.own(name)

    def own(self, name: str, lane: int = 0) -> Placement:
        """Give a value a storage of its own, beginning at a lane of its first word."""
        self.of[name] = self.storage(name, name, lane)
        return self.of[name]

    def storage(self, name: str, value: str, lane: int) -> Placement:
        """A storage of its own name for (a copy of) a value, beginning at a lane of its first word."""
        channels, height, width = self.values[value].shape
        element, section = self.values[value].element, self.sections.get(value)
        storage = Storage(name, lane + channels, height, width, self.tn, element, section)
        self.contents[name] = value, lane
        return Placement(storage, lane, channels)
