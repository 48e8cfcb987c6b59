"""Identity convolutions: they move channels and pixels, and change no bit."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from superlip.graph import ir

from .layout import Placement
from .operation import Op

__all__ = ["identity", "identity_conv"]


def identity(
    name: str,
    source: Placement,
    dest: Placement,
    *,
    order: Sequence[int] | NDArray[np.integer] | None = None,
    table: ir.Elements | None = None,
    grid: tuple[int, int] | None = None,
    step: tuple[int, int] = (1, 1),
    origin: tuple[int, int] = (0, 0),
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    pad_value: int = 0,
) -> Op:
    """Channel i of ``dest`` is channel order[i] of ``source``, unchanged or through a table.

    Parameters
    ----------
    order : ints, shape (dest.channels,), optional
        Without: all channels as they are.
    grid : (rows, cols), optional
        Without: all pixels of the destination's storage.
    step, origin, strides, pads
        Which pixel goes where: as of `Op` and of a 1x1 convolution.
    """
    if order is None and source.channels == dest.channels:  # a pass reads only the words that it moves
        weights, groups = np.ones((dest.channels, 1, 1, 1), dest.storage.element.dtype), dest.channels
    else:
        order, groups = np.arange(dest.channels) if order is None else np.asarray(order), 1
        weights = np.zeros((dest.channels, source.channels, 1, 1), dest.storage.element.dtype)
        weights[np.arange(dest.channels), order] = 1
    conv = identity_conv(name, dest, weights, table=table, strides=strides, pads=pads, groups=groups)
    grid = dest.size if grid is None else grid
    return Op(name, conv, (source,), dest, (pad_value, 0), grid, step=step, origin=origin)


def identity_conv(
    name: str,
    dest: Placement,
    weights: ir.Elements,
    *,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    table: ir.Elements | None = None,
    groups: int = 1,
) -> ir.Conv:
    """A convolution whose results are its sums: with one 1 a channel in its weights, elements of its input."""
    return ir.Conv(
        name=name, inputs=(), output=dest.storage.name, weights=weights, bias=np.zeros(dest.channels, np.int32),
        scale=np.ones(dest.channels, np.float32), table=table, strides=strides, pads=pads,
        groups=groups,
    )  # fmt: skip
