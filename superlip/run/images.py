"""Images and labels that go with a model: given, in files beside it, or made up."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from superlip.graph import ir
from superlip.graph.errors import DataError
from superlip.graph.images import ImageInput, input_of, is_path, read_images, read_labels, unused_arrays

__all__ = ["DataError", "Images", "calibration_file", "load_images"]

FEW = 0.01
"""Part of an image's values that may lie outside of the input's range without a word."""
FAR = 4
"""Factor between the range of the images and the one that was calibrated, either way, that is worth a warning."""


@dataclass(frozen=True, eq=False)
class Images:
    """Images to run.

    Parameters
    ----------
    images : ndarray, shape (N, C, H, W), or as the model's input has it; (N, elements) of several inputs
        As ``superlip.golden.quantize_input`` takes them.
    labels : ndarray of integers, shape (N,), or None
    source : str
        Where they are from, for people.
    warnings : list of str
        What is odd about them, and what to do.
    """

    images: np.ndarray
    labels: np.ndarray | None
    source: str
    warnings: list[str] = field(default_factory=list)

    def first(self, limit: int | None) -> "Images":
        """The first ``limit`` of them; all without one."""
        labels = None if self.labels is None else self.labels[:limit]
        return replace(self, images=self.images[:limit], labels=labels)


def calibration_file(model: str | Path, given: Any = None) -> Any:
    """Calibration images: those given (path or array), or ``calibration.npz`` or ``.npy`` beside the model, or None."""
    return given if given is not None else _beside(model, "calibration")


def load_images(
    model: str | Path | None,
    graph: ir.Graph,
    given: Any = None,
    *,
    labels: Any = None,
    limit: int | None = None,
    seed: int = 0,
) -> Images:
    """Images to run.

    Parameters
    ----------
    model : path or None
        Where ``heldout.npz`` or ``heldout.npy`` may lie beside.
    graph : ir.Graph
    given : path, array or Images, optional
        A .npz or .npy, an array (N, C, H, W), or a dict of arrays by input, as ``superlip.graph.images`` says. Without
        it: the file beside the model, or else one random image in the range of the model's inputs.
    labels : array, optional
        Of the images, instead of those in the file: (N,), or one-hot.
    limit : int, optional
        The first so many.

    Returns
    -------
    Images

    Raises
    ------
    DataError
        If file or arrays can't be used.
    """
    if limit is not None and limit < 1:
        raise DataError(f"the number of images to run must be at least 1, not {limit}")
    if isinstance(given, Images):
        loaded = given if labels is None else replace(given, labels=_labels(labels, graph, len(given.images)))
        return replace(loaded, warnings=given.warnings or range_warnings(graph, given)).first(limit)
    source = _beside(model, "heldout") if given is None and model is not None else given
    if source is None:
        if labels is not None:
            raise DataError("there are labels but no images that they are of: give both")
        images = _random_images(graph, limit or 1, seed)
        return Images(images, None, f"{len(images)} random")
    takes = input_of(graph)
    images = read_images(source, takes)
    if labels is not None or is_path(source):
        labels = _labels(source if labels is None else labels, graph, len(images))
    name = Path(source).name if is_path(source) else "array"
    loaded = Images(images, labels, name).first(limit)
    warnings = range_warnings(graph, loaded)
    if labels is None and (others := unused_arrays(source, takes)):
        warnings.append(f"{name}: {', '.join(map(repr, others))} not used: labels are taken from 'labels' or 'y'")
    return replace(loaded, warnings=warnings)


def _labels(source, graph, count):
    """Labels of so many images, for the graph's first output."""
    return read_labels(source, input_of(graph), count, int(np.prod(graph.values[graph.outputs[0]].shape)))


def range_warnings(graph: ir.Graph, images: Images) -> list[str]:
    """Sentences on images whose range is not the one that the model's input was quantized for.

    Raises
    ------
    DataError
        If floating-point images for an integer input are clearly the model's own numbers.
    """
    own = input_of(graph).split(images.images) if graph.front is None else [graph.front(images.images)]
    return [
        warning
        for (takes, value), numbers in zip(_inputs(graph), own, strict=True)
        for warning in _range_warnings(takes, value, numbers, images.source)
    ]


def _inputs(graph):
    """(ImageInput, ir.Value) of each input of a graph."""
    if graph.parts:
        return [(part.takes, graph.values[part.value]) for part in graph.parts]
    takes = input_of(graph)
    return [(takes if graph.front is None else ImageInput(takes.name, takes.shape), graph.values[graph.input])]


def _range_warnings(takes, value, numbers, source):
    if numbers.dtype.kind != "f":
        return []
    low, high = value.real_bounds
    smallest, largest = float(numbers.min()), float(numbers.max())
    step = value.scale
    outside = float(((numbers < low - step) | (numbers > high + step)).mean())
    found = f"{source} holds {smallest:g} to {largest:g}"
    if takes.dtype != "float32" and outside > FEW and _are_own_numbers(numbers, takes):
        raise DataError(
            f"{found}, whole numbers in floating point: if they are the model's own, give "
            f"array.astype(np.{takes.dtype}); as real numbers its input {takes.name!r} takes {low:g} to {high:g}"
        )
    reach, calibrated = max(abs(smallest), abs(largest)), max(abs(low), abs(high))
    if outside <= FEW and calibrated / FAR <= reach <= calibrated * FAR:
        return []
    factor = max(reach, calibrated) / max(min(reach, calibrated), 1e-30)
    mixed = " (0 to 255 here, 0 to 1 there?)" if 200 < factor < 300 else ""
    saturating = f" ({100 * outside:.1f} % of the values saturate)" if outside > FEW else ""
    return [
        f"{found}, but {takes.dtype} input {takes.name!r} is quantized for {low:g} to {high:g}{mixed}{saturating}: "
        f"give images in the range of those for calibration, or calibrate with images like these"
    ]


def _are_own_numbers(numbers, takes):
    limits = np.iinfo(takes.dtype)
    return bool((numbers == np.rint(numbers)).all() and limits.min <= numbers.min() and numbers.max() <= limits.max)


def _random_images(graph, count, seed):
    """Normal numbers about the middle of each input's range, four deviations to its ends, as the inputs take them."""
    takes, rng = input_of(graph), np.random.default_rng(seed)
    if graph.front is not None:  # nobody says what it takes
        numbers = rng.random((count, *takes.shape), np.float32)
        return numbers if takes.dtype == "float32" else (127 * numbers).astype(takes.dtype)
    made = []
    for part, value in _inputs(graph):
        low, high = value.real_bounds
        numbers = (low + high) / 2 + (high - low) / 8 * rng.standard_normal((count, *part.shape))
        numbers = np.clip(numbers, low, high).astype(np.float32)
        if takes.parts and part.dtype != "float32":
            numbers = value.element.to_own(value.quantize(numbers), value.is_unsigned)
        made.append(numbers)
    return takes.joined(made) if takes.parts else made[0]


def _beside(model, stem):
    """``stem``.npz or ``stem``.npy beside a model, or None."""
    return next((p for p in (Path(model).parent / f"{stem}{kind}" for kind in (".npz", ".npy")) if p.is_file()), None)
