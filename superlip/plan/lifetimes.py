"""When each storage is alive: from its first writer to its last reader."""

from dataclasses import dataclass

from superlip.ops.layout import Storage

from .network import Network

__all__ = ["Lifetimes", "lifetimes_of"]


@dataclass(frozen=True, eq=False)
class Lifetimes:
    """Steps between which each storage, by name, is alive, both included; operation i is step i + 1.

    The image is there from step 1 on, results of a host operation from the step behind its stop.
    """

    storages: dict[str, Storage]
    first: dict[str, int]
    last: dict[str, int]
    stored: set[str]
    """What the host reads: stored in DRAM when the last of its step is done."""
    writers: dict[str, list[int]]
    users: dict[str, list[int]]


def lifetimes_of(network: Network) -> Lifetimes:
    """Lifetimes of a network's storages."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for storage, position in network.given().items():
        first[storage.name] = last[storage.name] = position + 1
    for step, op in enumerate(network.ops, 1):
        first.setdefault(op.output.storage.name, step)
        for place in (*op.inputs, op.output):
            last[place.storage.name] = step
    stored = set()
    reads = [(network.host_reads(segment), at) for segment, at in enumerate(network.cuts, 1)]
    for names, step in (*reads, (network.outputs, len(network.ops))):
        for name in names:
            storage_name = network.places[name].storage.name
            last[storage_name] = max(last[storage_name], step)
            stored.add(storage_name)
    return Lifetimes(network.storages(), first, last, stored, network.writers(), network.users())
