"""Equalisation: a channel's scale moves from one layer's weights to the next one's, so that channels share steps well.

An activation has one scale for all its channels: one that is far smaller than the largest has few steps. What lies
between the two layers must let a scale through (``channels.py``). In real numbers the network stays the same.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .channels import FIXED, Channels, weights_by_output
from .precise import row_blocks, scaled
from .rewrite import Prepared
from .scales import LARGEST
from .stretches import run_tensors
from .units import find_units

__all__ = ["Statistics", "equalize", "observe_channels"]

_POWERS = ((0.5, 0.5), (0.5, 0.0), (1.0, 0.0), (0.75, 0.25), (0.25, 0.75))
"""Of a channel's peak, and of its share in the next layers' weights: the best of these makes its scale."""
_WORTH = 0.8
"""Of the expected noise: where more than that is left, all stays as it is."""
_LEAST_SEEN = 1024
"""Values of a channel on all images: the largest of fewer says little of what other images have."""
_MOST_PAIRS = 1 << 20
"""Of inputs and outputs of a layer that are looked at."""
_GROWN = 0.7
"""Of the largest channel's peak: as far may others grow."""
_MOST = 64.0
"""Scales lie between its inverse and it."""


@dataclass(frozen=True)
class Statistics:
    """Of a tensor's channels on calibration images: largest absolute value and mean square, float64, shape (C,).

    ``count`` is how many values of each there were.
    """

    peak: NDArray[np.float64]
    power: NDArray[np.float64]
    count: int


def observe_channels(
    prepared: Prepared,
    names: Collection[str],
    images: NDArray[np.float32],
) -> dict[str, Statistics]:
    """Statistics of some tensors' channels (axis 1), image by image."""
    names = sorted(names)
    peaks: dict[str, NDArray] = {}
    powers: dict[str, NDArray] = {}
    counts: dict[str, int] = {}

    def see(name, array):
        by_channel = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)
        peak = np.maximum(by_channel.max(axis=1), -by_channel.min(axis=1))
        power = [np.square(by_channel[rows], dtype=np.float64).mean(axis=1) for rows in row_blocks(by_channel)]
        peaks[name] = np.maximum(peaks.get(name, 0.0), peak)
        powers[name] = powers.get(name, 0.0) + np.concatenate(power)
        counts[name] = by_channel.shape[1] * len(images)

    run_tensors(prepared.model, names, images, see, prepared.consts)
    return {n: Statistics(peaks[n].astype(np.float64), powers[n] / len(images), counts[n]) for n in names}


def equalize(prepared: Prepared, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Scale channels where that is expected to take noise away; weights and biases are changed in place.

    Parameters
    ----------
    prepared : Prepared
    images : ndarray float32, shape (N, ...)
        To see how large each channel is.

    Returns
    -------
    dict of str to ndarray float32, shape (C,)
        By how much each channel of a tensor has been divided; tensors that stay are left out.
    """
    channels = Channels(prepared)
    free = {name: classes for name, classes in channels.of.items() if classes.any()}
    if not free:
        return {}
    seen = observe_channels(prepared, free, images)
    rounded = {name for unit in find_units(prepared) for name in unit.results} & free.keys()
    scales = np.ones(1 + max(int(classes.max()) for classes in free.values()))
    layers = [node for node in channels.weighted if node.input[0] in free]
    for members in _components(free):
        tensors = {name: classes for name, classes in free.items() if members[classes].any()}
        if max(seen[name].count for name in tensors) >= _LEAST_SEEN:
            takers = [node for node in layers if node.input[0] in tensors]
            _choose(scales, members, tensors, seen, rounded, takers, channels, prepared)
    _apply(prepared, channels, scales)
    found = {name: scales[classes].astype(np.float32) for name, classes in free.items()}
    return {name: array for name, array in found.items() if np.any(array != 1)}


def _components(free):
    """Masks of classes that are chosen together: those that meet in some tensor."""
    count = 1 + max(int(classes.max()) for classes in free.values())
    labels = np.arange(count)
    changed = True
    while changed:
        changed = False
        for classes in free.values():
            own = classes[classes != FIXED]
            least = labels[own].min()
            if np.any(labels[own] != least):
                labels[own] = least
                changed = True
    used = np.unique(np.concatenate([classes[classes != FIXED] for classes in free.values()]))
    return [np.isin(np.arange(count), used[labels[used] == label]) for label in np.unique(labels[used])]


def _choose(scales, members, tensors, seen, rounded, layers, channels, prepared):
    """Scales of the classes in a mask, where they are worth it."""
    used = np.flatnonzero(members)
    peak, share = np.zeros(len(scales)), np.zeros(len(scales))
    for name in tensors.keys() & rounded:
        np.maximum.at(peak, tensors[name], seen[name].peak)
    for node in layers:
        weights, index = _some_outputs(node, prepared)
        if weights.shape[1] == 1:
            continue  # a depthwise layer's weights have a scale a channel
        size = np.abs(weights).max(axis=2)
        size = size / np.maximum(size.max(axis=1, keepdims=True), 1e-30)
        np.maximum.at(share, tensors[node.input[0]][index], size)
    low, high = _bounds(members, tensors, seen, channels)
    if not peak.any():
        return
    noise = _Noise(tensors, seen, rounded, layers, prepared)
    if not noise.layers:
        return
    best, least = None, _WORTH * noise(scales)
    for of_peak, of_share in _POWERS:
        trial = scales.copy()
        trial[used] = np.clip(_centred(peak[used]) ** of_peak * _centred(share[used]) ** -of_share, 1 / _MOST, _MOST)
        trial[used] = _with_headroom(trial[used], peak[used])
        if np.isfinite(high[used]).any():
            trial[used] /= trial[used].max()
        trial[used] = np.clip(trial[used], low[used], high[used])
        expected = noise(trial)
        if expected < least:
            best, least = trial, expected
    if best is not None:
        scales[:] = best


def _some_outputs(node, prepared):
    """``weights_by_output`` of evenly spread outputs, all of them unless the layer is huge."""
    weights, index = weights_by_output(node, prepared.consts)
    every = max(1, index.size // _MOST_PAIRS)
    return weights[::every], index[::every]


def _centred(sizes):
    """Sizes by their geometric mean; those that are nothing count as that."""
    is_some = sizes > 1e-20
    if not is_some.any():
        return np.ones_like(sizes)
    return np.where(is_some, sizes, 1) / np.where(is_some, np.exp(np.log(sizes[is_some]).mean()), 1)


def _with_headroom(scales, peak):
    """Scales with which channels that grow, beside the one of the largest peak, keep clear of the range's end.

    Other images have larger values than those that were seen: where all channels reach the end, many saturate.
    """
    top = int(np.argmax(peak))
    least = peak / (_GROWN * peak[top]) * scales[top]
    return np.maximum(scales, np.minimum(scales[top], least))


def _bounds(members, tensors, seen, channels):
    """(low, high) of each class's scale: behind a Clip a channel may grow, but not as far as its bound."""
    low, high = np.zeros(len(members)), np.full(len(members), np.inf)
    for name, bound in channels.clips:
        if name in tensors and np.isfinite(bound):
            classes, peak = tensors[name], seen[name].peak
            reaches = peak >= bound
            np.maximum.at(low, classes, np.where(reaches, 1.0, peak / bound))
            np.minimum.at(high, classes, 1.0)
    return low, high


class _Noise:
    """Noise that rounding is expected to make in the layers that take some tensors, of their results' own power."""

    def __init__(self, tensors, seen, rounded, layers, prepared):
        self.tensors = [(classes, seen[name].peak) for name, classes in tensors.items() if name in rounded]
        self.layers = []
        for node in layers:
            weights, index = _some_outputs(node, prepared)
            square, size = np.square(weights).sum(axis=2), np.abs(weights).max(axis=2)
            power = seen[node.input[0]].power[index]
            signal = (square * power).sum(axis=1)
            if (signal > 0).any():
                self.layers.append((tensors[node.input[0]][index], square, size, power, weights.shape[2], signal))

    def __call__(self, scales):
        """Over all layers, for scales by class."""
        rounding = np.zeros(len(scales))
        for classes, peak in self.tensors:
            step = (peak / scales[classes]).max() / LARGEST
            np.add.at(rounding, classes, (step * scales[classes]) ** 2 / 12)
        total = 0.0
        for classes, square, size, power, taps, signal in self.layers:
            scale = scales[classes]
            step = (size * scale).max(axis=1) / (LARGEST / 2)
            of_weights = step**2 / 12 * taps * (power / scale**2).sum(axis=1)
            noise = (square * rounding[classes]).sum(axis=1) + of_weights
            total += float((noise[signal > 0] / signal[signal > 0]).mean())
        return total


def _apply(prepared: Prepared, channels: Channels, scales: NDArray) -> None:
    """New weights and biases of the layers whose channels have a scale, and the model with them."""
    for node in channels.weighted:
        taken = scales[channels.of[node.input[0]]] if node.input[0] in channels.of else None
        given = scales[channels.of[node.output[0]]]
        if np.all(given == 1) and (taken is None or np.all(taken == 1)):
            continue
        weights, index = weights_by_output(node, prepared.consts)
        factors = (1 if taken is None else taken[index]) / given[:, None]
        shape = prepared.consts[node.input[1]].shape
        node.input[1] = prepared.constant(f"{node.name}/equalized", scaled(weights, factors[:, :, None]).reshape(shape))
        if len(node.input) > 2 and node.input[2]:
            bias = prepared.consts[node.input[2]]
            changed = (bias / given.reshape(bias.shape)).astype(np.float32)
            node.input[2] = prepared.constant(f"{node.name}/equalized_bias", changed)
    prepared.finish()
