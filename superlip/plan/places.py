"""Where the values of a graph lie."""

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

    Attributes
    ----------
    of : dict of str to Placement
        By value, those that have one.
    contents : dict of str to (str, int)
        Storage name -> (value, channel at which it begins).
    """

    def __init__(self, values: dict[str, ir.Value], tn: int) -> None:
        self.values, self.tn = values, tn
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
        storage = Storage(name, lane + channels, height, width, self.tn, self.values[value].element)
        self.contents[name] = value, lane
        return Placement(storage, lane, channels)
