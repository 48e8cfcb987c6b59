"""Native cluster simulation and cocotb testbenches on Verilator.

``run_bench``: the cocotb tests of a component, superlip's or your own (``superlip.sim.runner`` says what a testbench
is).
"""

__all__ = ["run_bench"]


def __getattr__(name):
    # On demand: the simulators need neither Amaranth's conversion nor cocotb.
    if name == "run_bench":
        from .runner import run_bench  # noqa: PLC0415

        return run_bench
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
