"""cocotb testbenches of the RTL components."""
