"""A network that somebody brings: where its file comes from, and images for it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pictures
import skimage.data
from skimage.transform import resize

__all__ = ["Network"]

PAGES = tuple(range(0, 160, 12)), tuple(range(6, 160, 24))
"""First rows of the pieces of ``skimage.data.page`` to calibrate with, and to run."""


@dataclass(frozen=True)
class Network:
    """A network and where its file comes from.

    ``path``: of its file, in a folder, made or downloaded where it is not there. ``mean`` and ``deviation`` are what
    its pixels, 0 to 1, are normalised with; ``is_text``: it reads lines of print.
    """

    title: str
    path: Callable[[Path], Path]
    shape: tuple[int, ...]
    mean: float | tuple[float, ...] = 0.0
    deviation: float | tuple[float, ...] = 1.0
    is_text: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1, *self.shape)

    def images(self, part: int) -> np.ndarray:
        """float32, shape (N, ...): part 0 is to calibrate with, part 1 to run."""
        is_last = self.shape[-1] == 3
        height, width = self.shape[:2] if is_last else self.shape[1:]
        if self.is_text:
            pieces = np.stack([_line(first, height, width) for first in PAGES[part]])
            images = (np.repeat(pieces[..., None], self.shape[0], axis=-1) - self.mean) / self.deviation
            return np.ascontiguousarray(images.astype(np.float32).transpose(0, 3, 1, 2))
        names = pictures.HELD_OUT if part else pictures.CALIBRATION
        images = pictures.photographs(names, (3, height, width), self.mean, self.deviation)
        images = np.concatenate([images, images[..., ::-1]])
        if self.shape[0] == 1:
            images = images.mean(axis=1, keepdims=True)
        return np.ascontiguousarray(images.transpose(0, 2, 3, 1) if is_last else images)


def _line(first: int, height: int, width: int) -> np.ndarray:
    """A piece of a printed page: a line or two where it is as flat as a line."""
    page = skimage.data.page() / 255.0
    rows = min(page.shape[0] - first, 28 if height <= 64 else page.shape[0])
    cols = min(page.shape[1], round(rows * width / height))
    return resize(page[first : first + rows, 20 : 20 + cols], (height, width), anti_aliasing=True)
