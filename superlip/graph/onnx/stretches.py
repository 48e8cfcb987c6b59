"""Tensors of a model on many images, one stretch of its nodes after the other: no more than one stretch gives is kept.

The model is cut where so much has been asked for that it would be a burden to hold; behind a cut a session takes what
those before it gave. Every node runs once an image, as it would in one session.
"""

from collections.abc import Callable, Collection, Iterator
from math import prod

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from superlip.graph.apart import Weights
from superlip.graph.errors import ModelError, one_line
from superlip.graph.images import ImageInput, parts_of
from superlip.graph.session import open_session

from .onnxtools import fixed_shape, shapes, tensor_type

__all__ = ["images_by_input", "run_tensors"]

_MOST = 1 << 22
"""Elements of all tensors that are asked for of one stretch: 16 MiB in float32, unless one node gives more."""


def run_tensors(
    model: ModelProto,
    names: Collection[str],
    images: NDArray[np.float32],
    see: Callable[[str, NDArray[np.float32]], None],
    weights: Weights | None = None,
) -> None:
    """Call ``see`` with each of some float tensors of a model, image by image: nothing else of them is kept.

    Parameters
    ----------
    model : ModelProto
        Its nodes in order.
    names : names of tensors
    images : ndarray float32, shape (N, ...)
        Each is fed alone; of several inputs (N, elements), as ``ImageInput.joined`` gives them.
    see : function of (name, ndarray of one image)
    weights : dict of str to ndarray, optional
        Numbers of the constants that the model has by name only.

    Raises
    ------
    ModelError
        If ONNX Runtime can't run the model.
    """
    given = images_by_input(model, images)
    stretches = _stretches(model, dict.fromkeys(names), weights)
    for number in range(len(images)):
        known = {name: array[number : number + 1] for name, array in given.items()}
        for stretch in stretches:
            known |= stretch.run(known)
            for name in stretch.asked:
                array = known[name]
                if isinstance(array, np.ndarray) and array.dtype == np.float32 and array.size:
                    see(name, array)
            for name in known.keys() - stretch.kept:
                del known[name]


def images_by_input(model: ModelProto, images: NDArray) -> dict[str, NDArray]:
    """Arrays of all images by the name of the input that takes them."""
    if len(model.graph.input) == 1:
        return {model.graph.input[0].name: images}
    inputs = [ImageInput(info.name, fixed_shape(info)[1:]) for info in model.graph.input]
    return {part.name: array for part, array in zip(inputs, parts_of(images, inputs), strict=True)}


class _Stretch:
    """Nodes in a row: ``asked`` are the tensors of theirs that are asked for, ``kept`` those that are taken later.

    Its session is opened when it is first run: what it takes has the types and sizes that came.
    """

    def __init__(
        self, model: ModelProto, nodes: list[NodeProto], asked: list[str], kept: set[str], weights: Weights | None
    ) -> None:
        made = {o for node in nodes for o in node.output if o}
        used = {i for node in nodes for i in node.input} | set(asked)
        self.asked, self.kept = asked, kept
        self._weights = weights
        self._gives = list(dict.fromkeys([*asked, *sorted(kept & made)]))
        self._part = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, functions=model.functions)
        self._part.graph.name = model.graph.name or "stretch"
        self._part.graph.node.extend(nodes)
        self._part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in used)
        self._part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in self._gives)
        self._takes = used - made - {tensor.name for tensor in model.graph.initializer}
        self._session: onnxruntime.InferenceSession | None = None

    def run(self, known: dict[str, NDArray]) -> dict[str, NDArray]:
        """What is asked for, and what others take, of one image."""
        feeds = {name: known[name] for name in sorted(self._takes & known.keys())}
        try:
            if self._session is None:
                self._session = self._open(feeds)
            return dict(zip(self._gives, self._session.run(self._gives, feeds), strict=True))
        except Exception as error:  # onnxruntime's exceptions share no base class of their own
            raise ModelError(f"ONNX Runtime cannot run the model: {one_line(error)}") from error

    def _open(self, feeds):
        infos = [helper.make_tensor_value_info(n, tensor_type(a.dtype), a.shape) for n, a in feeds.items()]
        self._part.graph.input.extend(infos)
        return open_session(self._part.SerializeToString(), is_optimized=False, weights=self._weights)


def _stretches(model: ModelProto, asked: dict[str, None], weights: Weights | None) -> list[_Stretch]:
    parts = list(_cut(model, asked))
    taken: set[str] = set()
    found = []
    first = {info.name for info in (*model.graph.input, *model.graph.initializer)}
    for number, nodes in reversed(list(enumerate(parts))):
        made = {o for node in nodes for o in node.output if o}
        mine = [name for name in asked if name in made or (number == 0 and name in first)]
        if not mine and made.isdisjoint(taken):
            continue  # such as the end of a network, of which nothing is asked for
        found.append(_Stretch(model, nodes, mine, set(taken), weights))
        taken = (taken - made) | {i for node in nodes for i in node.input if i}
    return found[::-1]


def _cut(model: ModelProto, asked: Collection[str]) -> Iterator[list[NodeProto]]:
    """The nodes in stretches, cut where nothing crosses but tensors of known shape."""
    known = shapes(model)
    last = {i: at for at, node in enumerate(model.graph.node) for i in node.input if i}
    nodes: list[NodeProto] = []
    crossing: set[str] = set()
    elements = 0
    for at, node in enumerate(model.graph.node):
        nodes.append(node)
        crossing.update([o for o in node.output if last.get(o, -1) > at])
        crossing.difference_update([i for i in node.input if last.get(i) == at])
        elements += sum(prod(known.get(o, ())) for o in node.output if o in asked)
        if elements >= _MOST and crossing <= known.keys():
            yield nodes
            nodes, elements = [], 0
    if nodes or not model.graph.node:
        yield nodes
