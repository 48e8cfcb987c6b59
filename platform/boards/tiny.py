"""A node of 8x8 MACs: small enough to simulate a network in seconds. Its surroundings have a ZCU102's proportions."""

from .types import Target

__all__ = ["TINY"]

TINY = Target(name="tiny")
