"""Images and labels that go with a model: files beside it, or made up."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["DataError", "Images", "calibration_file", "load_images"]


class DataError(ValueError):
    """A file of images that can't be used; the message names it and says what it should hold."""


@dataclass(frozen=True, eq=False)
class Images:
    """``images`` ndarray (N, C, H, W), floating point or the model's own type; ``labels`` int, shape (N,), or None."""

    images: np.ndarray
    labels: np.ndarray | None
    source: str


def calibration_file(model, given=None):
    """The calibration file: the one given, or ``calibration.npz`` beside the model, or None."""
    if given is not None:
        return Path(given)
    beside = Path(model).with_name("calibration.npz")
    return beside if beside.is_file() else None


def load_images(model, shape, given=None, *, limit=None, seed=0):
    """Images to run.

    Parameters
    ----------
    model : path
    shape : (C, H, W)
        Of the model's input.
    given : path, optional
        A .npz with ``images`` (N, C, H, W) and, if accuracy is wanted, ``labels`` (N,). Without it: ``heldout.npz``
        beside the model, or else one random image.
    limit : int, optional
        The first so many.

    Raises
    ------
    DataError
        If the file is none, or its arrays don't fit.
    """
    path = Path(given) if given is not None else Path(model).with_name("heldout.npz")
    if given is None and not path.is_file():
        images = np.random.default_rng(seed).standard_normal((limit or 1, *shape)).astype(np.float32)
        return Images(images, None, f"{len(images)} random")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a readable .npz file of images: {error}") from None
    images = arrays.get("images", next((a for a in arrays.values() if a.ndim == 4), None))
    if images is None or images.ndim != 4 or images.shape[1:] != tuple(shape) or not len(images):
        found = {name: array.shape for name, array in arrays.items()}
        raise DataError(f"{path}: the model takes images of shape (N, {', '.join(map(str, shape))}); it holds {found}")
    labels = arrays.get("labels")
    if labels is not None and labels.shape != (len(images),):
        raise DataError(f"{path}: {len(images)} images, but labels of shape {labels.shape}")
    if limit is not None:
        images, labels = images[:limit], None if labels is None else labels[:limit]
    return Images(images, labels, path.name)
