"""Every module has tests in a file named after it, or it is said here where they are."""

import pytest
from paths import ROOT, modules

ELSEWHERE = {
    # module, or package with a dot behind it: (file, why there)
    "boards.tiny": ("tests/boards/test_loader.py", "sizes alone; the schema checks them"),
    "boards.zcu102": ("tests/boards/test_loader.py", "sizes alone; the schema checks them"),
    "compile.context": ("tests/compile/test_compiler.py", "data for the emitters"),
    "compile.convolutions": ("tests/compile/test_compiler.py", "every word that VECTOR writes is compared there"),
    "compile.design": ("tests/test_api.py", "data, and what ``repr`` says"),
    "compile.errors": ("tests/compile/test_compiler.py", "an exception"),
    "compile.host_exchange": (
        "tests/compile/test_compiler.py",
        "networks with stops for the host, and images in bands",
    ),
    "compile.image_programs": ("tests/compile/test_compiler.py", "joins the emitters"),
    "compile.init_program": ("tests/compile/test_compiler.py", "what it brings is used by all that is compared there"),
    "compile.program_state": ("tests/compile/test_compiler.py", "data of the emitters"),
    "compile.stages": ("tests/compile/test_compiler.py", "activations in DRAM, in strips"),
    "compile.vector": ("tests/compile/test_compiler.py", "every word that VECTOR writes is compared there"),
    "ops.lowering": ("tests/plan/test_lower.py", "an interface; plan/lower.py is behind it"),
    "report.measured": ("tests/report/test_attribution.py", "needs a simulated run"),
    "run.images": ("tests/graph/test_images.py", "one file for the rule of images, from their file to the run"),
    "sim.mutants.": ("tests/sim/test_mutants.py", "one program, of small parts"),
    "sim.yosys": ("tests/sim/test_mutants.py", "runs yosys for the mutants and the proofs"),
    "timing.fetch": ("tests/timing/test_reckon.py", "its instructions are held against the RTL there"),
    "timing.instructions": ("tests/timing/test_reckon.py", "data"),
    "timing.matrix": ("tests/timing/test_reckon.py", "its instructions are held against the RTL there"),
    "timing.node": ("tests/timing/test_reckon.py", "joins the parts"),
    "rtl.accumulators": ("sim/testbenches/matrix.py", "a part of the matrix unit"),
    "rtl.axi": ("sim/testbenches/read_mux.py", "and the ports of load.py and store.py"),
    "rtl.copy_address": ("sim/testbenches/load.py", "addresses of LOAD, STORE and SEND"),
    "rtl.core": ("sim/testbenches/node.py", "joins the parts of a node"),
    "rtl.counters": ("tests/sim/test_formal.py", "proved"),
    "rtl.feed": ("sim/testbenches/matrix.py", "a part of the matrix unit"),
    "rtl.link.deframer": ("sim/testbenches/link.py", "a link has two sides"),
    "rtl.link.port": ("sim/testbenches/link.py", "a link has two sides"),
    "rtl.link.receiver": ("sim/testbenches/link.py", "a link has two sides"),
    "rtl.link.transmitter": ("sim/testbenches/link.py", "a link has two sides"),
    "rtl.memory": ("sim/testbenches/buffer.py", "the buffer; its FIFO in load.py and store.py"),
    "rtl.pixel_walk": ("sim/testbenches/matrix.py", "addresses of MATMUL"),
    "rtl.ports": ("sim/testbenches/node.py", "interfaces without behaviour"),
    "rtl.trace": ("sim/testbenches/node.py", "an interface without behaviour"),
    "rtl.vector_address": ("sim/testbenches/vector.py", "a part of VECTOR"),
    "rtl.vector_datapath": ("sim/testbenches/vector.py", "a part of VECTOR"),
    "rtl.vector_lanes": ("sim/testbenches/vector.py", "a part of VECTOR"),
    "rtl.vector_model": ("sim/testbenches/vector.py", "held against the RTL there, and in tests/rtl/test_vector.py"),
    "rtl.vector_output": ("sim/testbenches/vector.py", "a part of VECTOR"),
    "rtl.vector_table": ("sim/testbenches/vector.py", "a part of VECTOR"),
    "rtl.vector_window": ("sim/testbenches/vector.py", "a part of VECTOR"),
}


def names():
    """Modules by name, without ``superlip``; no packages' own, no testbenches: those are tests."""
    for _, parts in modules():
        name = ".".join(parts[1:])
        if parts[-1] != "__init__" and not name.startswith("sim.testbenches.") and name:
            yield name


def has_its_own(name):
    """Whether there is a test file of that name in the module's room, or, of the hardware, a testbench."""
    *rooms, module = name.split(".")
    tests = (ROOT / "tests").joinpath(*rooms[:1])
    found = [*(tests.rglob if rooms else tests.glob)(f"test_{module}.py")]
    return bool(found) or (rooms[:1] == ["rtl"] and (ROOT / f"sim/testbenches/{module}.py").is_file())


@pytest.mark.parametrize("name", sorted(names()))
def test_a_module_has_tests(name):
    room, module = name.split(".")[0] if "." in name else "", name.split(".")[-1]
    where = f"tests/{room}/test_{module}.py" if room else f"tests/test_{module}.py"
    elsewhere = any(name == other or (other.endswith(".") and name.startswith(other)) for other in ELSEWHERE)
    assert has_its_own(name) != elsewhere, f"superlip.{name}: {where} is missing; or take it off the list here"


def test_the_lists_name_what_is_there():
    for module, (file, reason) in ELSEWHERE.items():
        assert any(name == module or name.startswith(module) for name in names()), module
        assert (ROOT / file).is_file() and reason
