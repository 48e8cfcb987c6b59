"""Decides all that a compiler needs not decide: who computes what, where it lies, and in which order it comes."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from superlip.boards import Target
from superlip.graph import ir
from superlip.ops import spec_of
from superlip.ops.layout import Part
from superlip.rtl.config import NodeConfig

from .activations import plan_activations
from .allocate import DoesNotFit
from .bands import Band, bands_of
from .blocks import Tile, conv_tiles, parameter_words
from .board_buffer import ActivationPlan, arrival
from .cost import LayerCost
from .lower import lower_for
from .network import Network
from .partition import Exchange, Split, exchange_of, part_of
from .residency import Load, WeightPlan, plan_weights
from .schedule import order
from .search import Division, divide_network
from .tasks import Task, tasks_of

__all__ = ["Plan", "PlanError", "best_plan", "expected_cycles", "lowered", "make_plan"]


class PlanError(ValueError):
    """A plan that can't be made; the message names what does not go, and what can.

    ``value`` is the result that there is no room for, where that is the reason.
    """

    def __init__(self, text: str, value: str | None = None) -> None:
        super().__init__(text)
        self.value = value


@dataclass(frozen=True, eq=False)
class Plan:
    """What each of some boards does for an image, when, and where everything lies in its buffers.

    Operations go by their number in the network, storages by their name. It needs no weights: only their shapes.
    """

    division: Division
    parts: list[list[Part]]
    """What each board computes, by operation and board."""
    exchange: Exchange
    """Words that boards compute, need and send."""
    tiles: list[list[Tile] | None]
    """How each convolution's weights are cut."""
    parameter_words: list[dict[int, int]]
    """Words of each operation's parameter blocks, by key."""
    activations: list[ActivationPlan]
    """The activation buffer, by board."""
    order: list[Task]
    """All tasks of an image, in the order in which they are emitted."""
    weights: list[WeightPlan]
    """The weight buffer, by board."""
    loads: list[list[Load | None]]
    """For each task what its weight steps load; None: the block stays on chip."""
    bands: dict[int, list[Band]]
    """What the host writes, when so many operations are done, in the order in which it is loaded."""

    @property
    def boards(self) -> int:
        """How many boards it is for."""
        return self.division.boards

    @property
    def splits(self) -> list[Split]:
        """How each operation is divided."""
        return self.division.splits

    @property
    def share(self) -> float:
        """Part of each weight-shared block that a board loads itself."""
        return self.division.share

    @property
    def costs(self) -> list[LayerCost]:
        """What each operation is expected to cost."""
        return self.division.costs

    @property
    def cycles(self) -> float:
        """Estimated latency of one image."""
        return self.division.cycles

    @property
    def streamed(self) -> list[int]:
        """Operations whose parameters are loaded for each image, in order; those of others stay."""
        return sorted(self.activations[0].trial.streamed)

    @property
    def parameter_loads(self) -> dict[int, list[int]]:
        """``streamed``, by the operation with whose first task, or a later one's, their parameters are loaded."""
        loads: dict[int, list[int]] = {}
        for index in self.streamed:
            loads.setdefault(arrival(index), []).append(index)
        return loads

    @property
    def in_dram(self) -> frozenset[str]:
        """Storages that do not stay on chip."""
        return self.activations[0].trial.in_dram


def make_plan(network: Network, target: Target, boards: int, *, split: Split | Sequence[Split] | None = None) -> Plan:
    """The plan with the least estimated latency.

    Parameters
    ----------
    network : Network
    target : Target
    boards : int
    split : Split, or list of Split by operation, optional
        Divide so instead of choosing; one for all is used wherever it is possible.

    Raises
    ------
    PlanError
        If ``boards`` is not what the target can join, or what must be on chip at once does not fit the node.
    """
    _require_boards(target, boards)
    division = divide_network(network, target, boards, split)
    try:
        return _plan(network, division, target.node)
    except DoesNotFit as error:
        raise PlanError(f"{network.graph.name} on node {target.name}: {error}", _movable(network.graph)) from error


def lowered(graph: ir.Graph, target: Target, boards: int) -> Network:
    """What a graph is for so many boards: one board may work on two halves of the image in the first layers.

    Raises
    ------
    LoweringError
        If a node of the graph can't run on the accelerator.
    """
    return lower_for(graph, target.node, halves=boards == 1)


def best_plan(graph: ir.Graph, target: Target, boards: int) -> tuple[Network, Plan]:
    """A graph lowered and planned for so many boards, without halves of the image where they do not fit.

    Raises
    ------
    LoweringError, PlanError
        See `lowered` and `make_plan`.
    """
    network = lowered(graph, target, boards)
    try:
        return network, make_plan(network, target, boards)
    except PlanError:
        if not network.has_halves:
            raise
    network = lower_for(graph, target.node)
    return network, make_plan(network, target, boards)


def _movable(graph: ir.Graph) -> str | None:
    """The largest result that must stay on chip as its pixels are written apart, and that the host could make."""
    spread = [node.output for node in graph.nodes if spec_of(node).spreads_pixels]
    return max(spread, key=lambda name: math.prod(graph.values[name].shape), default=None)


def expected_cycles(network: Network, target: Target, boards: int) -> float:
    """Estimated latency of one image with the best plan, in cycles; whether all fits the node is not looked at.

    Raises
    ------
    PlanError
        If ``boards`` is not what the target can join.
    """
    _require_boards(target, boards)
    return divide_network(network, target, boards).cycles


def _require_boards(target: Target, boards: int) -> None:
    if not 1 <= boards <= target.max_boards:
        can = " or ".join(str(n) for n in range(1, target.max_boards + 1))
        raise PlanError(f"{boards} boards asked for; node {target.name} can be joined {can} at a time today")


def _plan(network: Network, division: Division, node: NodeConfig) -> Plan:
    ops, boards = network.ops, division.boards
    parts = [
        [part_of(op, split, board, boards) for board in range(boards)]
        for op, split in zip(ops, division.splits, strict=True)
    ]
    exchange = exchange_of(network, division.splits, boards)
    tiles = [conv_tiles(op, node.weight_words) if op.is_conv else None for op in ops]
    words = [parameter_words(op, mine, node.tn) for op, mine in zip(ops, tiles, strict=True)]
    activations = plan_activations(network, parts, exchange, words, node)
    tasks = order(network, tasks_of(network, parts, tiles, activations, node), activations[0].trial.after)
    _require_whole_rows(network, tasks, activations)
    weights, loads = plan_weights(tasks, boards, node.weight_words)
    bands = bands_of(network, exchange, activations[0].trial.in_dram)
    return Plan(division, parts, exchange, tiles, words, activations, tasks, weights, loads, bands)


def _require_whole_rows(network: Network, tasks: Iterable[Task], activations: Sequence[ActivationPlan]) -> None:
    """Results that go to DRAM are stored as whole rows, every pixel of them written."""
    for task in tasks:
        op = network.ops[task.op]
        blocks = [(step.board, chunk.col0, chunk.col1) for step in task.weight_steps for chunk in step.chunks]
        blocks += [(at.board, at.step.col0, at.step.col1) for at in task.vector_steps]
        for board, *cols in blocks:
            if task.op in activations[board].slots and not (op.is_plain and cols == [0, op.grid[1]]):
                raise PlanError(
                    f"{op.name}: rows of {op.grid[1]} pixels do not fit the accumulators and the buffer",
                    op.output.storage.name,
                )
