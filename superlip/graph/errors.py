"""The exceptions for models, and for images to calibrate and run them with, that cannot be used."""

__all__ = ["DataError", "ModelError"]


class ModelError(ValueError):
    """What is wrong with the model (or its calibration data), which node, and what would be right."""


class DataError(ModelError):
    """Images or labels that can't be used; names the file, the array, what it holds and what is wanted."""
