"""One board's activation buffer for tests of what is planned for it."""

import numpy as np
from nets import Builder

from superlip.boards import TARGETS
from superlip.plan.blocks import conv_tiles, parameter_words
from superlip.plan.board_buffer import BoardBuffer
from superlip.plan.lifetimes import lifetimes_of
from superlip.plan.lower import lower
from superlip.plan.partition import Split, exchange_of, part_of

NODE = TARGETS["tiny"].node


def board_buffer(graph, config=NODE, split=Split.ALL, boards=1):
    network = lower(graph, config.tn)
    splits = [split] * len(network.ops)
    parts = [part_of(op, split, 0, boards) for op in network.ops]
    words = [
        parameter_words(op, conv_tiles(op, config.weight_words) if op.is_conv else None, config.tn)
        for op in network.ops
    ]
    exchange = exchange_of(network, splits, boards)
    return BoardBuffer(network, lifetimes_of(network), parts, exchange, words, config, 0)


def two_convolutions_and_a_sum():
    net = Builder(np.random.default_rng(0), (8, 8, 8))
    a = net.conv("image", 8, (1, 1))
    b = net.conv(a, 8, (1, 1))
    return net.graph(net.conv(net.add(a, b), 8, (1, 1)))
