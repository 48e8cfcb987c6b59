"""Photographs that scikit-image's wheel holds, as the inputs of networks: nothing is downloaded."""

import numpy as np
import skimage.data
from skimage.transform import resize

__all__ = ["CALIBRATION", "HELD_OUT", "IMAGENET", "photographs"]

CALIBRATION = ("astronaut", "coffee", "rocket", "stereo_motorcycle")
HELD_OUT = ("chelsea", "retina")
"""Names of functions of ``skimage.data``: photographs to calibrate with, and others to run."""

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's red, green and blue, from 0 to 1: what most networks of photographs take."""


def photographs(names, shape, mean=IMAGENET[0], deviation=IMAGENET[1]):
    """Photographs for a network, normalised.

    Parameters
    ----------
    names : sequence of str
        See ``CALIBRATION``.
    shape : (3, H, W)
    mean, deviation : float, or one for each of red, green and blue
        Of pixels from 0 to 1; ``IMAGENET`` by default.

    Returns
    -------
    ndarray float32, shape (len(names), 3, H, W): the middle of each, as large as fits, scaled to H x W

    Raises
    ------
    ValueError
        If the network takes no images of three channels.
    """
    if len(shape) != 3 or shape[0] != 3:
        raise ValueError(f"photographs are of shape (3, H, W), not {tuple(shape)}")
    return np.stack([_normalized(_photograph(name), *shape[1:], mean, deviation) for name in names])


def _photograph(name):
    """A photograph as floats from 0 to 1, shape (height, width, 3)."""
    image = getattr(skimage.data, name)()
    if isinstance(image, tuple):  # a stereo pair with its distances
        image = image[0]
    return image.astype(np.float32) / 255


def _normalized(image, height, width, mean, deviation):
    scale = min(image.shape[0] / height, image.shape[1] / width)
    rows, columns = round(scale * height), round(scale * width)
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - columns) // 2
    middle = resize(image[top : top + rows, left : left + columns], (height, width, 3), anti_aliasing=True)
    return ((middle - mean) / deviation).astype(np.float32).transpose(2, 0, 1)
