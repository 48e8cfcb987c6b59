"""What a node takes of an FPGA, by synthesis."""
