"""Every preset becomes Verilog that Verilator takes without a warning that matters."""

import subprocess

import pytest

from superlip.boards import TARGETS
from superlip.rtl.config import LIMITS, NodeConfig
from superlip.rtl.node import Node, node_verilog
from superlip.sim.runner import QUIET
from superlip.tools.toolchain import MissingToolError, find_toolchain


def test_a_node_is_square():
    with pytest.raises(ValueError, match="tm=8 and tn=16"):
        Node(NodeConfig(tm=8, tn=16))


def test_the_smallest_node_has_no_signal_without_bits():
    """Verilator refuses a vector [-1:0], which an index becomes that has nothing to tell apart."""
    assert "[-1:0]" not in node_verilog(NodeConfig(**{name: limit.low for name, limit in LIMITS.items()}))


def test_same_text_for_the_same_sizes():
    config = TARGETS["tiny"].node
    assert node_verilog(config) == node_verilog(config)


@pytest.mark.parametrize("name", ["tiny", pytest.param("zcu102", marks=pytest.mark.slow)])
def test_lint(name, tmp_path):
    """No circular logic (UNOPTFLAT) either: it would cost the simulator much of its speed."""
    try:
        tools = find_toolchain().linked(tmp_path)
    except MissingToolError as error:
        pytest.skip(str(error))
    (tmp_path / "node.v").write_text(node_verilog(TARGETS[name].node))
    command = [tools.verilator, "--lint-only", *QUIET, "-Wwarn-UNOPTFLAT", "--top-module", "superlip_node", "node.v"]
    result = subprocess.run(command, cwd=tmp_path, env=tools.environment(), capture_output=True, text=True, check=False)
    assert result.returncode == 0 and "%Warning" not in result.stderr, result.stderr[-4000:]
