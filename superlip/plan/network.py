"""What a cluster computes: operations of the node on words, in order, with the host's steps between them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from superlip.graph import ir
from superlip.ops import apply
from superlip.ops.layout import Placement, Storage, pack_words
from superlip.ops.operation import Op

from .folding import Taps

__all__ = ["HostStep", "Network"]


@dataclass(frozen=True, eq=False)
class HostStep:
    """A node that the host computes when ``position`` operations of the network are done and before the next begins.

    What it needs of the accelerator lies in DRAM by then; the host writes the result to DRAM.
    """

    node: ir.Host
    position: int


@dataclass(eq=False)
class Network:
    """What a cluster computes, from its input image to its outputs.

    ``taps`` is what the host does with images; None where they lie in DRAM as they are. ``steps`` are the host's nodes
    between operations, in order, ``host`` those after the last. The steps cut ``ops`` in segments: segment 0 begins
    with the image (and the steps at position 0), each other one with the steps at one position.
    """

    graph: ir.Graph
    ops: list[Op]
    places: dict[str, Placement]
    input: Placement
    taps: Taps | None
    outputs: list[str]
    contents: dict[str, tuple[str, int]]
    """Storage name -> (value, channel at which it begins): what the storage holds when all its writers are done."""
    host: list[ir.Host] = field(default_factory=list)
    steps: list[HostStep] = field(default_factory=list)

    def prepare(self, images: NDArray[np.int8]) -> NDArray[np.int8]:
        """Images (int8, shape (B, C, H, W)) as they lie in DRAM (int8, shape (B, C', H', W'))."""
        return images if self.taps is None else self.taps(images)

    @property
    def has_halves(self) -> bool:
        """Whether pieces of the image lie side by side."""
        return self.taps is not None and len(self.taps.first) > 1

    @property
    def parts(self) -> list[str]:
        """Values of the model's inputs, where it has several: what the host writes of an image."""
        return [part.value for part in self.graph.parts]

    @property
    def cuts(self) -> list[int]:
        """Positions at which segments 1, 2, ... begin."""
        return sorted({step.position for step in self.steps if step.position})

    def segment_steps(self, segment: int) -> list[HostStep]:
        """Host steps with which a segment begins."""
        position = [0, *self.cuts][segment]
        return [step for step in self.steps if step.position == position]

    def host_reads(self, segment: int) -> list[str]:
        """Values that the host reads from DRAM before a segment: what it did not make itself."""
        known = {self.graph.input, *self.parts, *(step.node.output for step in self.steps)}
        names = [name for step in self.segment_steps(segment) for name in step.node.inputs]
        return list(dict.fromkeys(name for name in names if name not in known))

    def given(self) -> dict[Storage, int]:
        """Storages that the host writes -> position at which it does: the image, and the results of host steps."""
        steps = [step for step in self.steps if step.node.output in self.places]
        results = {self.places[step.node.output].storage: step.position for step in steps}
        images = [self.places[name].storage for name in self.parts] or [self.input.storage]
        return {**dict.fromkeys(images, 0), **results}

    def complete(self, values: Mapping[str, NDArray[np.int8]]) -> dict[str, NDArray[np.int8]]:
        """The golden's values (name -> elements, shape (B, C, H, W)), with those that only this network's graph has."""
        found = dict(values)
        for node in self.graph.nodes:
            if node.output not in found:
                found[node.output] = apply(node, [found[name] for name in node.inputs], self.graph.values)
        return found

    def words(self, name: str, values: Mapping[str, NDArray[np.int8]]) -> NDArray[np.int8]:
        """What a storage holds when all its writers are done, from all values by name (ndarray int8, shape (C, H, W)).

        Returns
        -------
        ndarray int8, shape (groups, H, W, tn); 0 in lanes that hold nothing.
        """
        value, offset = self.contents[name]
        ops = [self.ops[index] for index in self.writers().get(name, ())]
        storage = ops[0].output.storage if ops else self.storages()[name]
        words = pack_words(values[value], Placement(storage, offset, len(values[value])))
        copies = max((op.copies for op in ops), default=1)
        if copies > 1:
            words[-1] = np.tile(words[-1][..., : storage.tn // copies], copies)
        return words

    def storages(self) -> dict[str, Storage]:
        """All storages, by name."""
        storages = {storage.name: storage for storage in self.given()}
        for op in self.ops:
            storages |= {place.storage.name: place.storage for place in (*op.inputs, op.output)}
        return storages

    def users(self) -> dict[str, list[int]]:
        """Storage name -> indices of the ops that read it."""
        users: dict[str, list[int]] = {}
        for index, op in enumerate(self.ops):
            for place in op.inputs:
                users.setdefault(place.storage.name, []).append(index)
        return users

    def writers(self) -> dict[str, list[int]]:
        """Storage name -> indices of the ops that write it."""
        writers: dict[str, list[int]] = {}
        for index, op in enumerate(self.ops):
            writers.setdefault(op.output.storage.name, []).append(index)
        return writers
