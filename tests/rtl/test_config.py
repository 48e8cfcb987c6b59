"""Sizes of a node: what follows from them, and what no node can be made of."""

import dataclasses

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from superlip.rtl.config import LIMITS, NodeConfig


@given(lanes=st.sampled_from([8, 16, 32, 64]), ports=st.sampled_from([1, 2, 4, 8]))
def test_ports_share_a_word(lanes, ports):
    assume(lanes // ports >= 4)
    config = NodeConfig(tm=lanes, tn=lanes, axi_ports=ports)
    assert config.axi_bytes * ports == config.word_bytes == lanes
    assert config.word_bits == 8 * lanes and config.macs_per_cycle == lanes * lanes


@pytest.mark.parametrize("name", LIMITS)
def test_every_size_is_limited(name):
    with pytest.raises(ValueError, match=f"^{name} must be .*, not -1$"):
        dataclasses.replace(NodeConfig(), **{name: -1})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"act_words": 4095}, "act_words=4095 must split into 4 banks of a power of two"),
        ({"weight_words": 3072}, "weight_words=3072 must split into 2 banks"),
        ({"axi_ports": 4}, "axi_ports=4 must split a word of tn=8 bytes in 4 to 128 bytes"),
        ({"mac": "triple"}, "mac must be .*'packed'"),
    ],
)
def test_sizes_that_do_not_go_together(sizes, message):
    with pytest.raises(ValueError, match=message):
        NodeConfig(**sizes)


def test_parts_may_be_what_a_node_may_not():
    NodeConfig().require_node()
    with pytest.raises(ValueError, match="tm = tn, not tm=8 and tn=16"):
        NodeConfig(tm=8, tn=16).require_node()
    with pytest.raises(ValueError, match="link_bytes=16 must be at most tn=8"):
        NodeConfig(link_bytes=16).require_node()
