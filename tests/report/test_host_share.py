"""What is said of the host's part."""

import numpy as np
from nets import Builder

from superlip.plan.lower import lower
from superlip.report.host_share import HostShare
from superlip.report.rows import LayerRow


def row(partition, **fields):
    return LayerRow("n", partition, 0, "host", 0, 0, 0, **fields)


def test_stops_are_those_in_the_middle():
    layer, host = row("ALL"), row("host", host_bytes=10)
    assert HostShare.of_rows([layer, host, host, layer, host, layer, host]) == HostShare(4, 2, 40, 0, 0)
    assert HostShare.of_rows([host, layer]).stops == 0
    assert HostShare.of_rows([layer, layer]).operations == 0


def test_a_network():
    net = Builder(np.random.default_rng(0), (4, 3, 3))
    kept = net.host_real(net.conv("image", 4, (1, 1)))
    y = net.conv(net.host_quantized(kept), 6, (1, 1))
    share = HostShare.of_network(lower(net.graph(net.host_real(y)), 8))
    assert share == HostShare(3, 1, 36 + 36 + 54, 0, 9 * (16 + 24))
    assert str(share) == "3 operations, 126 bytes from and to DRAM, for which the boards stop once; " + (
        "the host's time is not counted"
    )


def test_multiplications_are_named():
    text = str(HostShare(1, 2, 0, 250, 750))
    assert text.startswith("1 operation with 250 MACs, 25.0 % of the network's, for which the boards stop 2 times")
