"""Boards whose memory is not ours from address 0 on: in these tests each region of each board lies somewhere else."""

import random
import zlib
from itertools import pairwise

import pytest

from superlip.rtl.config import BUS_ADDRESS_BITS, PAGE
from superlip.sim.cluster import Simulator


@pytest.fixture(autouse=True)
def random_places(request, monkeypatch):
    """Bases of the regions of compiled programs, drawn anew for each test, from its name."""
    run = Simulator.run
    seed = zlib.crc32(request.node.nodeid.encode())

    def run_elsewhere(self, *, regions=(), stripe=0, **options):
        chooser = random.Random(seed)  # the same for each run of a test: cycles are compared, and checkpoints resumed
        ports = self.target.node.axi_ports
        bases = [_bases(chooser, places, stripe, ports) for places in regions]
        return run(self, regions=regions, stripe=stripe, bases=bases, **options)

    monkeypatch.setattr(Simulator, "run", run_elsewhere)


def _bases(chooser, places, stripe, ports):
    """Region -> page-aligned bus address, such that no parts of regions overlap on any ports."""
    while True:
        top = (1 << BUS_ADDRESS_BITS) - ports * stripe - max(size for _, size in places.values())
        bases = {region: chooser.randrange(top // PAGE) * PAGE for region in places}
        parts = sorted(
            (bases[region] + port * stripe, size) for region, (_, size) in places.items() for port in range(ports)
        )
        if all(first + size <= second for (first, size), (second, _) in pairwise(parts)):
            return bases
