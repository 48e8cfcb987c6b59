"""The one exception for models that cannot be used."""

__all__ = ["ModelError"]


class ModelError(ValueError):
    """What is wrong with the model (or its calibration data), which node, and what would be right."""
