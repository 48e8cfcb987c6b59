"""Boards and node presets: what the planner and the simulator know of the hardware."""

from .target import TARGETS, Dram, Link, Resources, Target, TargetError, load_target

__all__ = ["TARGETS", "Dram", "Link", "Resources", "Target", "TargetError", "load_target"]
