"""What a compiler can't carry out."""

__all__ = ["CompileError"]


class CompileError(ValueError):
    """A network that this node can't hold; the message names the layer, what it needs and what there is."""
