"""Any node that ``NodeConfig`` accepts becomes Verilog that Verilator takes; what is refused is refused by name."""

import random
import subprocess

import pytest

from superlip.rtl.config import CHOICES, LIMITS, NodeConfig
from superlip.rtl.node import node_verilog
from superlip.tools.toolchain import MissingToolError, find_toolchain

POWERS = {name: [1 << k for k in range(32) if limit.low <= 1 << k <= limit.high] for name, limit in LIMITS.items()}
LARGEST_OUTSIDE = {"act_words": 1 << 15, "weight_words": 1 << 14, "acc_words": 1 << 12}


def draw_node(seed, *, largest=128):
    """A node of sizes drawn at random, arrays of up to ``largest``; the same for the same seed."""
    choose = random.Random(seed)
    while True:
        lanes = choose.choice([size for size in POWERS["tn"] if size <= largest])
        sizes = {"tm": lanes, "tn": lanes, "watchdog_cycles": 100_000}
        sizes |= {name: choose.choice(choices) for name, choices in CHOICES.items()}
        for name, limit in LIMITS.items():
            high = min(limit.high, LARGEST_OUTSIDE.get(name, limit.high))
            if name not in sizes:
                powers = [size for size in POWERS[name] if size <= high]
                sizes[name] = choose.choice(
                    powers if limit.power_of_two else [*powers, choose.randint(limit.low, high)]
                )
        for memory in ("act", "weight"):
            sizes[f"{memory}_words"] = sizes[f"{memory}_banks"] * choose.choice(POWERS["acc_words"][:6])
        try:
            config = NodeConfig(**sizes)
            config.require_node()
        except ValueError:
            continue
        return config


@pytest.mark.parametrize("number", [*range(2), *(pytest.param(n, marks=pytest.mark.slow) for n in range(2, 40))])
def test_it_becomes_verilog(number, tmp_path):
    config = draw_node(number, largest=8 if number < 2 else 128)
    print(config)
    try:
        tools = find_toolchain().linked(tmp_path)
    except MissingToolError as error:
        pytest.skip(str(error))
    (tmp_path / "node.v").write_text(node_verilog(config))
    command, environment = [tools.verilator, "--lint-only", "-Wall", "node.v"], tools.environment()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "%Warning" not in done.stderr, f"{config}\n{done.stderr[-3000:]}"
