"""Nodes become Verilog that Verilator takes without a warning."""

import functools
import re
import subprocess

import pytest

from superlip.boards import TARGETS
from superlip.rtl.config import LIMITS, NodeConfig
from superlip.rtl.node import Node, node_verilog
from superlip.rtl.verilog import WAIVED
from superlip.tools.toolchain import MissingToolError, find_toolchain


def test_a_node_is_square():
    with pytest.raises(ValueError, match="tm=8 and tn=16"):
        Node(NodeConfig(tm=8, tn=16))


def test_the_smallest_node_has_no_signal_without_bits():
    """Verilator refuses a vector [-1:0], which an index becomes that has nothing to tell apart."""
    assert "[-1:0]" not in node_verilog(NodeConfig(**{name: limit.low for name, limit in LIMITS.items()}))


NODES = {
    "tiny": TARGETS["tiny"].node,
    "two_ports": NodeConfig(tm=16, tn=16, mac="single", axi_ports=2, link_bytes=16, act_banks=1, frame_slots=2),
    "zcu102": TARGETS["zcu102"].node,
}


@functools.cache
def verilog(name):
    return node_verilog(NODES[name])


def test_same_text_for_the_same_sizes():
    assert verilog("tiny") == node_verilog(NODES["tiny"])


@pytest.mark.parametrize("name", ["tiny", "two_ports", pytest.param("zcu102", marks=pytest.mark.slow)])
def test_lint(name, tmp_path):
    """Without any option or file of ours. No circular logic either: it would cost the simulator much of its speed."""
    warnings = lint(verilog(name), tmp_path)
    assert not warnings, warnings[-4000:]


def test_no_waiver_is_idle(tmp_path):
    """Each rule that the text switches off would find something in it."""
    warnings = lint(verilog("tiny").replace("/* verilator lint_off", "/*"), tmp_path)
    assert set(re.findall(r"%Warning-(\w+)", warnings)) == set(WAIVED)


def lint(text, folder):
    """What Verilator says of a text."""
    try:
        tools = find_toolchain().linked(folder)
    except MissingToolError as error:
        pytest.skip(str(error))
    (folder / "node.v").write_text(text)
    command = [tools.verilator, "--lint-only", "-Wall", "node.v"]
    environment = tools.environment()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == ("%Warning" not in done.stderr), done.stderr[-4000:]
    return done.stderr
