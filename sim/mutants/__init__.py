"""Mutation coverage: faults that yosys plants in a component, and what notices them.

`netlist` plants all mutants of a component in one netlist, in which an input selects one: a simulator is built once.
`planting` puts it where the component was, in the design of its testbench or in a node. `process` runs inside that
simulator: when cocotb and the testbench are loaded it makes a copy of the process for each mutant, so that a mutant
costs no more than the cycles up to its first mismatch. `equivalence` decides with a miter whether a mutant that nothing
noticed can be noticed at all. `campaign` says how many mutants of which component, keeps a file for each result, and
goes on where it was interrupted. `table` writes docs/mutants.md.

``make mutants``, or ``python -m superlip.sim.mutants --help``.
"""
