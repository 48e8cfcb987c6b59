"""From its first writer to its last reader, or the host that reads it."""

import numpy as np
from nets import Builder, random_branches

from superlip.plan.lifetimes import lifetimes_of
from superlip.plan.lower import lower


def test_a_chain_with_the_host_in_between():
    net = Builder(np.random.default_rng(0), (9, 8, 8))
    a = net.conv("image", 16, (1, 1))
    b = net.conv(net.host(a), 8, (1, 1))
    c = net.conv(b, 8, (1, 1))
    d = net.conv(c, 8, (1, 1))
    lives = lifetimes_of(lower(net.graph(d, b), 8))
    assert lives.first == {"image": 1, a: 1, "host1.y": 2, b: 2, c: 3, d: 4}
    assert lives.last == {"image": 1, a: 1, "host1.y": 2, b: 4, c: 4, d: 4}, "an output lives to the end"
    assert lives.stored == {a, b, d}, "what the host needs, and the outputs"


def test_every_access_is_within_a_life():
    network = lower(random_branches(np.random.default_rng(3))[0], 8)
    lives = lifetimes_of(network)
    for step, op in enumerate(network.ops, 1):
        for place in (*op.inputs, op.output):
            assert lives.first[place.storage.name] <= step <= lives.last[place.storage.name]
    assert lives.first.keys() == lives.last.keys() == lives.storages.keys()
