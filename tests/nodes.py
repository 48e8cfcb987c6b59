"""Nodes of sizes drawn at random, within the limits that node files have."""

import random

from superlip.boards import Target
from superlip.boards.types import Dram, Link
from superlip.rtl.config import CHOICES, LIMITS, NodeConfig

POWERS = {name: [1 << k for k in range(32) if limit.low <= 1 << k <= limit.high] for name, limit in LIMITS.items()}
LARGEST_OUTSIDE = {"act_words": 1 << 15, "weight_words": 1 << 14, "acc_words": 1 << 12}


def draw_node(seed, *, largest=128):
    """A node of sizes drawn at random, arrays of up to ``largest``; the same for the same seed."""
    choose = random.Random(seed)
    while True:
        lanes = choose.choice([size for size in POWERS["tn"] if size <= largest])
        sizes = {"tm": lanes, "tn": lanes, "watchdog_cycles": 100_000}
        sizes |= {name: choose.choice(choices) for name, choices in CHOICES.items() if name != "depthwise_rows"}
        for name, limit in LIMITS.items():
            high = min(limit.high, LARGEST_OUTSIDE.get(name, limit.high))
            if name not in sizes:
                powers = [size for size in POWERS[name] if size <= high]
                sizes[name] = choose.choice(
                    powers if limit.power_of_two else [*powers, choose.randint(limit.low, high)]
                )
        for memory in ("act", "weight"):
            sizes[f"{memory}_words"] = sizes[f"{memory}_banks"] * choose.choice(POWERS["acc_words"][:6])
        sizes["depthwise_rows"] = random.Random(f"depthwise {seed}").choice(CHOICES["depthwise_rows"])
        try:
            config = NodeConfig(**sizes)
            config.require_node()
        except ValueError:
            continue
        return config


def draw_target(seed, *, largest=128, node=None):
    """A node as `draw_node` makes it, with DRAM and links of 1 to 64 bytes a cycle and latencies of 1 to 300 cycles.

    ``node`` is the node's own seed, where it is another one: such targets share a simulator.
    """
    choose = random.Random(f"around {seed}")

    def rate():
        return choose.choice([1.0, 64.0, round(2 ** choose.uniform(0, 6), 3)])

    dram = Dram(
        bytes_per_cycle=rate(),
        latency=choose.choice([1, 300, choose.randint(1, 300)]),
        burst_overhead=choose.choice([0.0, 1.0, 7.5]),
        megabytes=16,
    )
    link = Link(bytes_per_cycle=rate(), latency=choose.choice([1, 300, choose.randint(1, 300)]))
    config = draw_node(seed if node is None else node, largest=largest)
    return Target(name=f"drawn{seed}", node=config, dram=dram, link=link)
