"""Native cluster simulation and cocotb benches on Verilator."""
