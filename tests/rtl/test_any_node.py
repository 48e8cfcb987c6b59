"""Any node that ``NodeConfig`` accepts becomes Verilog that Verilator takes; what is refused is refused by name."""

import subprocess

import pytest
from nodes import draw_node

from superlip.rtl.node import node_verilog
from superlip.tools.toolchain import MissingToolError, find_toolchain


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
