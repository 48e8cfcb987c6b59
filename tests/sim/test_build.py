"""What is built around a node: the wrapper, the header with its sizes, and a build that fails."""

import pytest

from superlip.boards import TARGETS
from superlip.sim.build import BuildError, build_simulator, last_lines, shape_header, top_ports, wrapper
from superlip.tools.toolchain import MissingToolError, find_toolchain

TINY = TARGETS["tiny"]
VERILOG = """module superlip_node(clk, rst, a__b, c);
  input clk;
  wire clk;
  input rst;
  wire rst;
  input [3:0] a__b;
  wire [3:0] a__b;
  output [69:0] c;
  reg [69:0] c;
endmodule
"""


def test_the_wrapper_registers_every_input():
    ports = top_ports(VERILOG)
    assert ports == [("clk", "input", 1), ("rst", "input", 1), ("a__b", "input", 4), ("c", "output", 70)]
    text = wrapper(ports, edge="edge")
    assert "now_a_b <= a_b;" in text and ".a__b(now_a_b)" in text and ".c(c)" in text and ".clk(clk)" in text
    with pytest.raises(ValueError, match="no module"):
        top_ports("module other(); endmodule")


def test_the_header_follows_the_sizes():
    text = shape_header(TARGETS["zcu102"].node, waves=True)
    for line in ("constexpr int AXI_PORTS = 4;", "constexpr int AXI_BYTES = 16;", "#define SUPERLIP_WAVES 1"):
        assert line in text
    assert "#define FOR_EACH_AXI_PORT(X) X(0) X(1) X(2) X(3)" in text


def test_a_build_that_fails_names_its_log(tmp_path, monkeypatch):
    try:
        find_toolchain()
    except MissingToolError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("SUPERLIP_CACHE", str(tmp_path))
    with pytest.raises(BuildError) as caught:
        build_simulator(VERILOG.replace("endmodule", "assign c = nothing(;\nendmodule"), TINY.node)
    (log,) = (path for path in (tmp_path / "simulators").iterdir() if path.suffix != ".lock")
    assert str(log) in str(caught.value) and "syntax error" in str(caught.value)
    assert log.suffix == ".log"
    with pytest.raises(ValueError, match="not clocked by the rising edge"):
        build_simulator(VERILOG.replace("endmodule", "always @(negedge clk) c <= 0;\nendmodule"), TINY.node)


def test_the_last_lines_of_a_log(tmp_path):
    log = tmp_path / "log"
    log.write_text("".join(f"line {n}\n" for n in range(10)))
    assert last_lines(log, 2).split("\n")[-2:] == ["line 8", "line 9"]
