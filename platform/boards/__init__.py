"""Boards and node presets: what the planner and the simulator know of the hardware."""

from .loader import TARGETS, TargetError, load_target
from .types import Dram, Link, Resources, Target

__all__ = ["TARGETS", "Dram", "Link", "Resources", "Target", "TargetError", "load_target"]
