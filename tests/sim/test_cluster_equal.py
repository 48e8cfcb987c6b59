"""Two nodes in one Verilog design under cocotb, and on the native simulator: the same bits in the same cycles."""

import numpy as np
import pytest

pytest.importorskip("cocotb")

import cluster_testbench as testbench

from superlip.sim.cluster import Simulator
from superlip.sim.runner import run_bench


@pytest.mark.parametrize("case", ["weight_shared", "ifm_shared"])
def test_native_equals_cocotb(case, seed, tmp_path):
    run_bench(testbench.__file__, case, seed=seed, folder=tmp_path)
    _, images, compiled = testbench.workload(**testbench.CASES[case], seed=seed)
    native = Simulator.build(testbench.TARGET).run(
        boards=testbench.BOARDS,
        programs=[board.programs[0] for board in compiled.boards],
        init_programs=[board.init_program for board in compiled.boards],
        dram=[board.dram.extents for board in compiled.boards],
        inputs=[compiled.input_writes(image) for image in images],
        outputs=compiled.output_ranges(),
        stripe=compiled.boards[0].dram.stripe_bytes,
        regions=[board.dram.regions for board in compiled.boards],
        trace_images="all",
        threads=1,  # the result does not depend on it
    )
    native.check()
    with np.load(tmp_path / testbench.RESULT) as cocotb:
        assert native.init_cycles == cocotb["init_cycles"]
        np.testing.assert_array_equal(native.starts, cocotb["starts"])
        np.testing.assert_array_equal(native.node_cycles, cocotb["node_cycles"])
        np.testing.assert_array_equal(native.sent, cocotb["sent"])
        assert native.trace.dtype == cocotb["trace"].dtype
        np.testing.assert_array_equal(native.trace, cocotb["trace"])
        outputs = [np.concatenate([np.asarray(part) for part in parts]) for parts in native.outputs]
        np.testing.assert_array_equal(outputs, cocotb["outputs"])
    assert len(native.trace) and set(native.trace["node"]) == {0, 1} and set(native.trace["image"]) == {0, 1}
    print(f"{case}: init {native.init_cycles}, nodes {native.node_cycles.tolist()}, {len(native.trace)} writes")
