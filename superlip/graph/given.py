"""The model as the user gave it: what everything that superlip makes of it is held against.

Models run with ONNX Runtime's graph optimizations off, so that nothing of them is rewritten (1.32 moves Pad with axes
wrongly to channels last), and with exact integers (``session.py``): some CPUs would saturate them otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx
from numpy.typing import ArrayLike, NDArray

from .apart import Weights, whole
from .errors import one_line
from .images import ImageInput, parts_of
from .session import open_session

__all__ = ["Front", "Given", "GivenError"]


class GivenError(RuntimeError):
    """ONNX Runtime can't run the model as given; the message says why."""


@dataclass(frozen=True, eq=False)
class Given:
    """A model to compare with.

    Parameters
    ----------
    light : bytes
        Serialized ONNX model, as the file had it; with made-up weights where it came without any.
    input : str
        Its image input.
    parts : tuple of ImageInput
        Its inputs, where it has several: an image is all of them, flat.
    weights : dict of str to ndarray
        Numbers of the constants that ``light`` has by name only (``apart.py``).
    """

    light: bytes = field(repr=False)
    input: str
    parts: tuple[ImageInput, ...] = ()
    weights: Weights = field(default_factory=dict, repr=False)

    @property
    def model(self) -> bytes:
        """Serialized ONNX model with all its numbers."""
        return whole(self.light, self.weights) if self.weights else self.light

    @cached_property
    def kind(self) -> str:
        """``float``, ``Q/DQ`` or ``QOperator``."""
        ops = {n.op_type for n in self._graph.node}
        if any(op.startswith(("QLinear", "QGemm", "ConvInteger", "MatMulInteger")) for op in ops):
            return "QOperator"
        return "Q/DQ" if "QuantizeLinear" in ops or "DequantizeLinear" in ops else "float"

    @cached_property
    def _graph(self):
        return onnx.load_from_string(self.light).graph

    @property
    def _inputs(self):
        return [part.name for part in self.parts] or [self.input]

    @cached_property
    def outputs(self) -> list[str]:
        """Names of its outputs, in order."""
        return [o.name for o in self._graph.output]

    @cached_property
    def tensors(self) -> set[str]:
        """Names of all that it computes, and of its inputs."""
        return set(self._inputs) | {o for n in self._graph.node for o in n.output if o}

    def ops_of_output(self, name: str) -> list[str]:
        """Operators that only pass an output on, and the one that makes it, the last first."""
        makers = {o: n for n in self._graph.node for o in n.output}
        found = []
        while name in makers:
            found.append(makers[name].op_type)
            if found[-1] not in ("Flatten", "Reshape", "Squeeze", "Identity", "QuantizeLinear", "DequantizeLinear"):
                break
            name = makers[name].input[0]
        return found

    def run(self, images: NDArray, names: Sequence[str] | None = None) -> dict[str, NDArray]:
        """Tensors of the model for every image.

        Parameters
        ----------
        images : ndarray, shape (B, ...)
            In the type of the model's input.
        names : list of str, optional
            Of tensors; its outputs without it.

        Returns
        -------
        dict of str to ndarray, shape (B, ...): each image's alone, without the model's batch

        Raises
        ------
        GivenError
        """
        names = self.outputs if names is None else list(names)
        try:
            session = self._session(tuple(names))
            rows = [self._one(session, names, parts) for parts in zip(*parts_of(images, self.parts), strict=True)]
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise GivenError(f"ONNX Runtime cannot run the model as given: {one_line(error)}") from error
        return {name: np.stack([row[i] for row in rows]) for i, name in enumerate(names)}

    def _one(self, session, names, parts):
        """Results for one image, ``parts``: an array for each input."""
        images = dict(zip(self._inputs, parts, strict=True))
        feeds, batch = {}, 1
        for info in session.get_inputs():
            shape = [s if isinstance(s, int) else 1 for s in info.shape]
            if info.name not in images:  # one that nothing takes
                feeds[info.name] = np.zeros(shape, np.float32)
                continue
            batch = shape[0]
            feed = np.ascontiguousarray(np.broadcast_to(images[info.name].reshape(1, *shape[1:]), shape))
            feeds[info.name] = feed.astype(_TYPES.get(info.type, feed.dtype), copy=False)
        results = [_wide(a) for a in session.run(names, feeds)]
        return [a[0] if a.ndim and a.shape[0] == batch else a for a in results]

    def _session(self, names):
        model = self.light
        if set(names) - set(self.outputs):
            more = onnx.load_from_string(model)
            present = {o.name for o in more.graph.output}
            more.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names if n not in present)
            model = more.SerializeToString()
        return open_session(model, is_optimized=False, weights=self.weights)


@dataclass(frozen=True, eq=False)
class Front:
    """What the host does to an image before it is quantized: ``given``'s only output, the float tensor ``tensor``.

    ``takes`` is the model's own input. Called with images (B, *takes.shape), or one, it gives (B, ...), float32.
    """

    given: Given
    takes: ImageInput
    tensor: str

    def __call__(self, images: ArrayLike) -> NDArray[np.float32]:
        return self.given.run(self.own(images), [self.tensor])[self.tensor].astype(np.float32, copy=False)

    def own(self, images: ArrayLike) -> NDArray:
        """Images in the type of the model's own input.

        Raises
        ------
        ValueError
            If they have another shape, or are no integers where it takes these.
        """
        array, takes = np.asarray(images), self.takes
        array = array[None] if array.shape == takes.shape else array
        if array.shape[1:] != takes.shape or (takes.dtype != "float32" and array.dtype.kind not in "iu"):
            raise ValueError(f"{takes}, not {array.dtype} of shape {array.shape}")
        return array.astype(takes.dtype, copy=False)


_TYPES = {
    "tensor(float16)": np.float16, "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8, "tensor(int32)": np.int32, "tensor(int64)": np.int64,
}  # fmt: skip


def _wide(array):
    """An array, in float32 where it is in half precision."""
    return array.astype(np.float32) if array.dtype == np.float16 else array
