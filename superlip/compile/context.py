"""What the emitters share and none of them changes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superlip.boards import Target
from superlip.ops.layout import Storage
from superlip.plan.network import Network
from superlip.plan.planner import Plan
from superlip.plan.tasks import BlockKey
from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import Region

from .dram import DramImage
from .program import DRAM, Access
from .weights import parameter_blocks, tile_words

__all__ = ["Context", "DramPlaces", "make_context"]


@dataclass(frozen=True, eq=False)
class DramPlaces:
    """What lies where in the boards' DRAM.

    Parameters
    ----------
    images : list of DramImage, by board
    base : list of dict of str to int, by board
        Word address of each storage that has a place in DRAM.
    regions : dict of str to int
        The number that stands for row 0 of such a storage where hazards are looked for.
    weights : list of dict of BlockKey to int, by board
        Word address of each weight block.
    parameters : list of dict of int to int, by board
        By operation whose parameters are loaded for each image: word address of those that the board uses.
    """

    images: list[DramImage]
    base: list[dict[str, int]]
    regions: dict[str, int]
    region_count: int
    weights: list[dict[BlockKey, int]]
    parameters: list[dict[int, int]]

    def rows(self, name: str, rows: ArrayLike) -> Access:
        """Rows of a storage, as an instruction's access."""
        return Access(DRAM, self.regions[name] + np.asarray(rows))


@dataclass(frozen=True, eq=False)
class Context:
    """A network, how it is planned, for what, and where things lie in DRAM."""

    network: Network
    plan: Plan
    target: Target
    dram: DramPlaces

    @property
    def config(self) -> NodeConfig:
        """Sizes of the node."""
        return self.target.node

    @property
    def segments(self) -> int:
        """Programs of one image."""
        return 1 + len(self.network.cuts)

    @cached_property
    def storages(self) -> dict[str, Storage]:
        """All storages, by name."""
        return self.network.storages()

    @cached_property
    def made_by_columns(self) -> frozenset[str]:
        """Storages that only operations write that do a channel group after the other, in blocks of many rows."""
        writers = self.network.writers()
        return frozenset(n for n, mine in writers.items() if all(self.network.ops[i].spec.by_columns for i in mine))

    @cached_property
    def given(self) -> dict[str, int]:
        """Storages that the host writes -> position at which it does."""
        return {storage.name: position for storage, position in self.network.given().items()}

    @cached_property
    def given_rows(self) -> dict[str, NDArray[np.bool_]]:
        """Storages that the host writes -> rows that it gives each board: shape (boards, height)."""
        rows = {name: np.any(self.plan.exchange.produced[name], axis=1) for name in self.given}
        for name in _stored(self.network) & rows.keys():  # an output lies somewhere, also where no board needs it
            rows[name][0] |= ~rows[name].any(axis=0)
        return rows

    @cached_property
    def owners(self) -> dict[str, NDArray[np.int_]]:
        """Storages that the host reads -> board that it reads each (group, row) from: the first that has it."""
        produced = self.plan.exchange.produced
        owners = {}
        for name in sorted(_stored(self.network)):
            if name in self.given:
                owners[name] = np.repeat(self.given_rows[name].argmax(axis=0)[None], self.storages[name].groups, axis=0)
            else:
                owners[name] = produced[name].argmax(axis=0)
        return owners

    @cached_property
    def shared_words(self) -> frozenset[tuple[str, int]]:
        """(storage, group) of the words that several operations write, each its lanes."""
        writers = Counter(
            (op.output.storage.name, group)
            for op in self.network.ops
            for group in range(op.output.first_group, op.output.end_group)
        )
        return frozenset(place for place, count in writers.items() if count > 1)

    @cached_property
    def used_lanes(self) -> dict[tuple[str, int], int]:
        """By (storage, group): lanes of its words that are written, from lane 0. The host's words are whole."""
        used: dict[tuple[str, int], int] = {}
        for op in self.network.ops:
            for group, _, end, *_ in op.output.tiles():
                place = op.output.storage.name, group
                used[place] = max(used.get(place, 0), self.config.tn if place[0] in self.given else end)
        return used


def make_context(network: Network, plan: Plan, target: Target) -> Context:
    """Give all that is in DRAM its place, and lay out the weights there.

    Raises
    ------
    ValueError
        If a board's DRAM is full.
    """
    images = [DramImage(target) for _ in range(plan.boards)]
    given, stored = {storage.name for storage in network.given()}, _stored(network)
    base: list[dict[str, int]] = [{} for _ in images]
    regions, count = {}, 0
    for name, storage in network.storages().items():
        if name in given or name in stored or name in plan.in_dram:
            region = Region.IMAGES if name in given else Region.RESULTS
            for image, mine in zip(images, base, strict=True):
                mine[name] = image.reserve(storage.words, region)
            regions[name] = count
            count += storage.height
    words = _block_words(network, plan)
    weights = [
        {key: image.place(words[key]) for key in mine.blocks} for image, mine in zip(images, plan.weights, strict=True)
    ]
    parameters = [
        _place_parameters(network, plan, image, buffer.parameters)
        for image, buffer in zip(images, plan.activations, strict=True)
    ]
    return Context(network, plan, target, DramPlaces(images, base, regions, max(1, count), weights, parameters))


def _place_parameters(
    network: Network, plan: Plan, image: DramImage, used: Sequence[Mapping[int, int]]
) -> dict[int, int]:
    """Parameter blocks that are loaded for each image, those of an operation as they lie in the buffer."""
    places = {}
    for index in plan.streamed:
        if used[index]:
            op = network.ops[index]
            blocks = parameter_blocks(op, plan.tiles[index], op.output.storage.tn)
            places[index] = image.place(np.concatenate([blocks[key] for key in used[index]]))
    return places


def _stored(network: Network) -> set[str]:
    """Storages of which the host reads values."""
    reads = [*network.outputs, *(name for at in range(1, 1 + len(network.cuts)) for name in network.host_reads(at))]
    return {network.places[name].storage.name for name in reads}


def _block_words(network: Network, plan: Plan) -> dict[BlockKey, NDArray[np.int8]]:
    """Words of every weight block."""
    return {
        (index, tile.group, at): words
        for index, tiles in enumerate(plan.tiles)
        for tile in tiles or ()
        for at, words in enumerate(tile_words(network.ops[index], tile))
    }
