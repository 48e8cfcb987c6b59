"""Arrays of images and labels, from files or from memory, held against the model's input.

One rule for all of them (``--data``, ``--calibrate``, ``load(calibrate=...)``, ``run(images=...)``). A file is a .npz
or a .npy. In a .npz, images are the array that is named as the model's input, or else ``images``, ``x`` or ``data``, or
else the only one of the right shape; labels are ``labels`` or ``y``.

The same numbers mean the same image, whatever type holds them: for a float input, integers are numbers, as 0..255 of a
photograph. For an input of integers, integers are the model's own numbers, and floating-point ones are
real numbers, which the input's scale and zero point then quantize (``superlip.golden.quantize_input``).

A model of several inputs takes an array for each, by its name: in a .npz, or in a dict. From then on an image is all of
them, flat, one after another (``ImageInput.joined``); an input of integers takes its own numbers only.
"""

import contextlib
import math
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .errors import DataError

if TYPE_CHECKING:
    from . import ir

__all__ = ["ImageInput", "input_of", "is_path", "parts_of", "read_images", "read_labels", "unused_arrays"]

IMAGE_NAMES = ("images", "x", "data")
LABEL_NAMES = ("labels", "y")


@dataclass(frozen=True)
class ImageInput:
    """A model's image input, as its file declares it: ``shape`` without the batch, ``dtype`` float32 or integers.

    Of a model with several, ``parts`` are they, and it is all of them together: ``shape`` is (elements,).
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    parts: "tuple[ImageInput, ...]" = ()

    @classmethod
    def of(cls, inputs: "Sequence[ImageInput]") -> "ImageInput":
        """A model's only input, or all of them together."""
        if len(inputs) == 1:
            return inputs[0]
        kinds = {part.dtype for part in inputs}
        size = sum(math.prod(part.shape) for part in inputs)
        dtype = kinds.pop() if len(kinds) == 1 else "float32"
        return cls(", ".join(part.name for part in inputs), (size,), dtype, tuple(inputs))

    def __str__(self):
        if self.parts:
            return "; ".join(map(str, self.parts))
        return f"input {self.name!r} takes {self.dtype} images of shape {_shape(('N', *self.shape))}"

    def joined(self, arrays: Sequence[NDArray]) -> NDArray:
        """Images of all ``parts``, each of shape (N, *part.shape), as (N, elements)."""
        return np.concatenate([array.reshape(len(array), -1).astype(self.dtype) for array in arrays], axis=1)

    def split(self, images: NDArray) -> list[NDArray]:
        """The opposite of ``joined``; without parts: the images as they are."""
        return parts_of(images, self.parts)


def parts_of(images: NDArray, parts: Sequence[ImageInput]) -> list[NDArray]:
    """Of images (N, elements) of several inputs each one's, (N, *part.shape), in its own type; of one: as they are."""
    if not parts:
        return [images]
    ends = np.cumsum([math.prod(part.shape) for part in parts])
    columns = np.split(images.reshape(len(images), -1), ends[:-1], axis=1)
    return [column.reshape(-1, *part.shape).astype(part.dtype) for column, part in zip(columns, parts, strict=True)]


def input_of(graph: "ir.Graph") -> ImageInput:
    """ImageInput of a quantized graph (ir.Graph): of the model that it was made from, where it was made from one."""
    if graph.parts:
        return ImageInput.of([part.takes for part in graph.parts])
    if graph.front is not None:
        return graph.front.takes
    shape = graph.onnx_input_shape or graph.values[graph.input].shape
    return ImageInput(graph.onnx_input or graph.input, tuple(shape), graph.onnx_input_type)


def is_path(source: object) -> TypeGuard[str | Path]:
    """Whether a source of images is a file's name, not an array."""
    return isinstance(source, str | os.PathLike)


def read_images(source: Any, takes: ImageInput, *, what: str = "images") -> NDArray:
    """Images for a model's input.

    Parameters
    ----------
    source : path of a .npz or .npy, or what ``np.asarray`` takes
        Shape (N, *takes.shape), or one image of takes.shape. For several inputs: a .npz, or a dict of arrays by name.
    takes : ImageInput
    what : str
        What messages call an array.

    Returns
    -------
    ndarray, shape (N, *takes.shape): float32, or of the model's own type if that is an integer and so is the array's

    Raises
    ------
    DataError
        If the source can't be read, doesn't fit the input, or holds what is no number.
    """
    held = _Held.of(source, what)
    if takes.parts and not held.is_flat(takes):
        return _of_several(held, takes)
    return _images(held.image_array(takes), takes)


def _images(held, takes):
    held.require_numbers(takes)
    images = _batch(held, takes)
    if takes.dtype == "float32" or images.dtype.kind == "f":
        return _finite(images, held, takes)
    return _own_numbers(images, held, takes)


def _of_several(held, takes):
    """Arrays of several inputs, by their names, as one."""
    by_name = {array.name: array for array in held.arrays}
    images = []
    for part in takes.parts:
        if part.name not in by_name:
            found = ", ".join(map(repr, by_name)) if any(by_name) else "one array without a name"
            raise DataError(
                f"{held.where}: the model has {len(takes.parts)} inputs, and no array is named {part.name!r}: {part}; "
                f"give a .npz or a dict with an array for each, by its name; there is {found}"
            )
        array = by_name[part.name]
        if part.dtype != "float32" and array.dtype.kind == "f":
            raise DataError(f"{array}; {part}: of several inputs, one of integers takes the model's own numbers")
        images.append(_images(array, part))
        if len(images[-1]) != len(images[0]):
            raise DataError(f"{array}, {len(images[-1])} images; {takes.parts[0].name!r} has {len(images[0])}")
    return takes.joined(images)


def read_labels(source: Any, takes: ImageInput, count: int, classes: int) -> NDArray[np.integer] | None:
    """Labels of ``count`` images, as class numbers.

    Parameters
    ----------
    source : path of a .npz or .npy with the images, or an array
        A .npz may hold ``labels`` or ``y``; other files have none. An array is the labels.
    takes : ImageInput
    count, classes : int
        Labels are whole numbers 0 to classes - 1, shape (count,) or (count, 1), or one-hot of shape (count, classes).

    Returns
    -------
    ndarray int64, shape (count,); None if the file has no labels

    Raises
    ------
    DataError
        If there are labels that are something else.
    """
    held = _Held.of(source, "labels")
    found = held.label_array(takes) if is_path(source) else held.arrays[0]
    return None if found is None else _class_numbers(found, count, classes)


def unused_arrays(path: Any, takes: ImageInput) -> list[str]:
    """Names of the arrays of a .npz that are neither images nor labels; none for an array or a .npy."""
    if not is_path(path):
        return []
    held = _Held.of(path, "images")
    names = [part.name for part in takes.parts] or [held.image_array(takes).name]
    used = (*names, *LABEL_NAMES)
    return [array.name for array in held.arrays if array.name not in used]


@dataclass(frozen=True, eq=False)
class _Array:
    """An array that is not read yet; ``where`` is what messages call it."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    where: str
    read: Callable[[], np.ndarray]

    def __str__(self):
        return f"{self.where} holds {self.dtype} of shape {_shape(self.shape)}"

    def require_numbers(self, wanted: object) -> None:
        if self.dtype.kind not in "fiub":
            raise DataError(f"{self.where} holds {_KINDS.get(self.dtype.kind, self.dtype)}, not numbers; {wanted}")


_KINDS = {"O": "Python objects", "U": "text", "S": "text", "c": "complex numbers", "V": "structures"}


@dataclass(frozen=True, eq=False)
class _Held:
    """The arrays of a source, by headers alone: a large one that is not wanted is never read."""

    where: str
    arrays: list[_Array]

    @classmethod
    def of(cls, source: Any, what: str) -> "_Held":
        if is_path(source):
            return _open(Path(source))
        if isinstance(source, Mapping):
            arrays = [(str(name), cls.of(array, f"{what} {name!r}").arrays[0]) for name, array in source.items()]
            return cls(f"the dict of {what}", [replace(array, name=name) for name, array in arrays])
        try:
            array = np.asarray(source)
        except Exception as error:  # whatever the library raises that the array is from
            raise DataError(f"{what}: {type(source).__name__} does not turn into an array: {_line(error)}") from None
        where = f"the array of {what}"
        return cls(where, [_Array("", array.shape, array.dtype, where, lambda: array)])

    def is_flat(self, takes: ImageInput) -> bool:
        """Whether it is one array that holds all inputs of a model already."""
        return len(self.arrays) == 1 and self.arrays[0].shape[-1:] == takes.shape and len(self.arrays[0].shape) < 3

    def image_array(self, takes: ImageInput) -> _Array:
        """The array of images, by the rule of this module."""
        by_name = {array.name: array for array in self.arrays}
        if len(by_name) == 1:
            return self.arrays[0]
        for name in (takes.name, *IMAGE_NAMES):
            if name in by_name:
                return by_name[name]
        fitting = [a for a in self.arrays if takes.shape in (a.shape, a.shape[1:]) and a.name not in LABEL_NAMES]
        if len(fitting) == 1:
            return fitting[0]
        names = ", ".join(map(repr, dict.fromkeys((takes.name, *IMAGE_NAMES))))
        found = ", ".join(f"{a.name!r} {a.dtype} {_shape(a.shape)}" for a in self.arrays[:8]) or "no array"
        raise DataError(
            f"{self.where}: {takes}; {'several arrays have' if fitting else 'no array has'} that shape and none is "
            f"named {names}: it holds {found}"
        )

    def label_array(self, takes: ImageInput) -> _Array | None:
        """The array of labels, or None."""
        images = () if takes.parts else (self.image_array(takes),)
        others = {array.name: array for array in self.arrays if all(array is not image for image in images)}
        return next((others[name] for name in LABEL_NAMES if name in others), None)


def _open(path):
    """_Held of a file."""
    try:
        with path.open("rb") as file:
            start = file.read(6)
        if start == npy.MAGIC_PREFIX:
            return _Held(str(path), [_member("", str(path), lambda: path.open("rb"))])
        if start[:2] == b"PK":
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith(".npy")]
            arrays = [_member(n[:-4], f"{path}: {n[:-4]!r}", _zipped(path, n)) for n in names]
            return _Held(str(path), arrays)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: a .npz or .npy file of images is wanted") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder: a .npz or .npy file of images is wanted") from None
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror or error}") from None
    except Exception as error:  # zipfile, zlib and numpy each raise their own
        raise DataError(f"{path} is damaged or cut short: {_line(error)}") from None
    what = f"it begins with {start!r}" if start else "it is empty"
    raise DataError(f"{path} is not a .npz or .npy file of images: {what}")


def _zipped(path, name):
    @contextlib.contextmanager
    def opened():
        with zipfile.ZipFile(path) as archive, archive.open(name) as file:
            yield file

    return opened


def _member(name, where, opened):
    """_Array of an .npy, alone or in an archive; ``opened()`` is its binary file."""

    def read():
        try:
            with opened() as file:
                return npy.read_array(file, allow_pickle=False)
        except Exception as error:
            raise DataError(f"{where} is damaged or cut short: {_line(error)}") from None

    with opened() as file:
        version = npy.read_magic(file)
        header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = header(file)
    return _Array(name, shape, dtype, where, read)


def _batch(held, takes):
    """The array as (N, *takes.shape)."""
    if held.shape == takes.shape:
        return held.read()[None]
    if held.shape[1:] == takes.shape and len(held.shape) == len(takes.shape) + 1:
        if not held.shape[0]:
            raise DataError(f"{held}: no image at all")
        return held.read()
    raise DataError(f"{held}; {takes}{_hint(held.shape, takes.shape)}")


def _hint(shape, wanted):
    """What would make an array fit, as the end of a sentence."""
    image = shape[-3:]
    batch = len(shape) - len(image)
    if len(wanted) == 3 and len(shape) in (3, 4):
        for order, what in (((2, 0, 1), "channels come last"), ((1, 2, 0), "channels come first")):
            if tuple(image[axis] for axis in order) == wanted:
                axes = (*range(batch), *(axis + batch for axis in order))
                return f": {what} in it; array.transpose{axes} puts them in their place"
    if wanted[:1] == (1,) and shape[1:] == wanted[1:]:
        return ": the axis of the one channel is missing; array[:, None] adds it"
    return ""


def _finite(images, held, takes):
    """float32, all of them finite."""
    with np.errstate(over="ignore"):
        images = np.ascontiguousarray(images, np.float32)
    bad = images.size - int(np.isfinite(images).sum())
    if bad:
        nan = int(np.isnan(images).sum())
        raise DataError(
            f"{held.where}: {nan:,} NaN and {bad - nan:,} infinite among {images.size:,} values; input {takes.name!r} "
            f"takes finite numbers"
        )
    return images


def _own_numbers(images, held, takes):
    """Integers in the input's own type."""
    limits = np.iinfo(takes.dtype)
    low, high = int(images.min()), int(images.max())
    if low < limits.min or high > limits.max:
        raise DataError(
            f"{held} from {low} to {high}; input {takes.name!r} takes integers of {takes.dtype}, {limits.min} to "
            f"{limits.max}, or real numbers as floating point"
        )
    return np.ascontiguousarray(images, takes.dtype)


def _class_numbers(held, count, classes):
    wanted = f"{count} labels are whole numbers 0 to {classes - 1}, or one-hot of shape ({count}, {classes})"
    held.require_numbers(wanted)
    if held.shape not in ((count,), (count, 1), (count, classes)):
        raise DataError(f"{held}; {wanted}")
    labels = held.read()
    with np.errstate(invalid="ignore"):
        whole = labels.astype(np.int64)
    if (whole != labels).any():
        raise DataError(f"{held.where} holds numbers that are not whole; {wanted}")
    if held.shape == (count, classes) and classes > 1:
        if not (np.isin(whole, (0, 1)).all() and (whole.sum(axis=1) == 1).all()):
            raise DataError(f"{held}, which is not one-hot: one 1 and else 0 in each row; {wanted}")
        return whole.argmax(axis=1)
    whole = whole.reshape(count)
    if whole.min() < 0 or whole.max() >= classes:
        raise DataError(f"{held.where} holds {whole.min()} to {whole.max()}; the model has {classes} classes: {wanted}")
    return whole


def _shape(shape):
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def _line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
