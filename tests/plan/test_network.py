"""What a network says of its words and of the host's part."""

import numpy as np
import pytest
from nets import Builder

from superlip.golden.run import run
from superlip.plan.lower import lower


@pytest.fixture
def stopping():
    """A network with two stops for the host, the second for two nodes: its graph, an image and itself."""
    net = Builder(np.random.default_rng(2), (8, 6, 6))
    a = net.conv(net.host(net.conv("image", 8, (1, 1))), 8, (1, 1))
    b, c = net.host(a), net.host(a)
    graph = net.graph(net.add(b, net.conv(c, 8, (1, 1))))
    return graph, net.image(), lower(graph, 8)


def test_segments(stopping):
    _, _, network = stopping
    assert network.cuts == [1, 2]
    assert [[step.node.name for step in network.segment_steps(n)] for n in range(3)] == [
        [],
        ["host1"],
        ["host3", "host4"],
    ]
    assert [network.host_reads(n) for n in range(3)] == [[], ["conv0.y"], ["conv2.y"]]
    assert {storage.name: at for storage, at in network.given().items()} == {
        "image": 0, "host1.y": 1, "host3.y": 2, "host4.y": 2,
    }  # fmt: skip


def test_readers_and_writers(stopping):
    _, _, network = stopping
    names = [op.name for op in network.ops]
    assert names == ["conv0", "conv2", "conv5", "add6"]
    assert network.users() == {"image": [0], "host1.y": [1], "host4.y": [2], "host3.y": [3], "conv5.y": [3]}
    assert network.writers() == {"conv0.y": [0], "conv2.y": [1], "conv5.y": [2], "add6.y": [3]}


def test_words_of_a_storage():
    """Five channels from lane 3 on, and 2 that are there four times: words of 8."""
    net = Builder(np.random.default_rng(3), (8, 5, 5))
    x = net.slice("image", 3, 8)
    y = net.add(x, x)
    z = net.conv("image", 2, (1, 1))
    graph, image = net.graph(y, net.conv(z, 8, (3, 3))), net.image()
    network = lower(graph, 8)
    values = {name: value[0] for name, value in run(graph, image[None]).items()}
    words = network.words(y, values)
    assert words.shape == (1, 5, 5, 8)
    np.testing.assert_array_equal(np.moveaxis(words[0], -1, 0)[3:], values[y])
    assert not words[..., :3].any()
    copies = np.moveaxis(network.words(z, values)[0], -1, 0)
    np.testing.assert_array_equal(copies, np.tile(values[z], (4, 1, 1)))
