"""How many cycles programs take, instruction by instruction, without simulating the node: see ``reckon``."""

from .reckon import Program, Reckoned, reckon

__all__ = ["Program", "Reckoned", "reckon"]
