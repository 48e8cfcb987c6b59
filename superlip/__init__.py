"""superlip: CNN inference on several FPGAs, planned, compiled, simulated and proved."""
