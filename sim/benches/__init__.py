"""cocotb test benches of the RTL components."""
