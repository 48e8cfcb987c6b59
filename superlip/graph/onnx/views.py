"""Layout operators as index maps.

Reshape, Transpose, Slice, Split, Pad, nearest Resize, DepthToSpace and the like only move elements. The importer
runs such a node, through ONNX Runtime itself, on the numbers of the elements instead of on their values. What
comes out says where every element comes from; chains of such nodes compose for free, and only when an operator
that computes needs its operand is the map turned into the fewest nodes of the quantized graph.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import NodeProto, TensorProto, helper

from superlip.graph import ir
from superlip.graph.errors import ModelError
from superlip.graph.session import open_session

from .onnxtools import attributes, small_model

__all__ = [
    "LAYOUT_OPS",
    "Copy",
    "View",
    "copies",
    "image_shape",
    "is_movable",
    "is_reshaped",
    "joined",
    "last_move",
    "layout_nodes",
    "move",
    "of_value",
    "progressions",
]

LAYOUT_OPS = frozenset(
    [
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Slice",
        "Split",
        "Gather",
        "DepthToSpace",
        "SpaceToDepth",
        "Resize",
        "Upsample",
        "Pad",
        "Identity",
        "Dropout",
        "Expand",
        "Tile",
    ]
)
_LARGEST = 1 << 24  # element numbers travel as float32
_LARGEST_SHUFFLE = 1 << 24
"""Weights of the identity convolution that does it."""
_MOST_RUNS = 8
LARGEST_STEP = 15
"""Pixels from one written by an operation to the next."""


Step = tuple[type[ir.Node], dict[str, Any], ir.Shape]
"""A node of the quantized graph, its arguments and the shape of its result."""


@dataclass(frozen=True, eq=False)
class View:
    """A tensor of the model that holds elements of the value ``value``.

    ``index`` has the model's own shape; entry i is the element of the value (C, H, W order) that stands there, or
    -1 for ``fill`` (an element). None: all of them in order. ``moves`` are the names of the model's nodes that moved
    them, ``before`` is the view that the last of them took.
    """

    value: str
    shape: tuple[int, ...]
    index: np.ndarray | None = None
    fill: int | None = None
    moves: tuple[str, ...] = ()
    before: "View | None" = None

    def numbers(self) -> NDArray[np.integer]:
        """The index map, made where it is None."""
        if self.index is not None:
            return self.index
        return np.arange(np.prod(self.shape, dtype=np.int64)).reshape(self.shape)


def image_shape(shape: Sequence[int]) -> ir.Shape:
    """(C, H, W) of a tensor of the model's shape: (1, C, H, W), (1, C, L) as (C, 1, L), (1, F) as (F, 1, 1)."""
    shape = tuple(int(s) for s in shape)
    if len(shape) == 4 and shape[0] == 1:
        return shape[1], shape[2], shape[3]
    if len(shape) == 3 and shape[0] == 1:
        return shape[1], 1, shape[2]
    if len(shape) == 2 and shape[0] == 1:
        return shape[1], 1, 1
    if len(shape) > 4 and shape[0] == 1:
        return shape[1], int(np.prod(shape[2:-1])), shape[-1]
    return int(np.prod(shape)), 1, 1


def move(
    node: NodeProto, view: View, operands: dict[str, NDArray], opsets: dict[str, int], fill: int | None
) -> list[View]:
    """Run a layout node on the element numbers of ``view``.

    Parameters
    ----------
    node : NodeProto
        Its first input is the view.
    view : View
    operands : dict of str to ndarray
        Constants among the other inputs.
    opsets : dict
    fill : int or None
        The element that Pad adds.

    Returns
    -------
    list of View, one an output
    """
    numbers = view.numbers()
    if numbers.size >= _LARGEST:
        raise ModelError(f"a tensor of {numbers.size} elements is too large to be moved")
    operands = {name: operands[name] for name in node.input[1:] if name}
    moving = type(node).FromString(node.SerializeToString())
    if node.op_type == "Pad":
        _fill_with_number(moving, operands, opsets)
    elif node.op_type == "Dropout":
        del moving.output[1:]
    elif attributes(node).get("coordinate_transformation_mode") == b"tf_crop_and_resize":
        raise ModelError("coordinate_transformation_mode='tf_crop_and_resize' is not supported; crop with Slice")
    outputs = [o for o in moving.output if o]
    inputs = [(node.input[0], TensorProto.FLOAT, numbers.shape)]
    model = small_model([moving], inputs, outputs, operands, {"": 17} | opsets)
    try:
        results = open_session(model, is_optimized=False).run(None, {node.input[0]: numbers.astype(np.float32)})
    except Exception:  # onnxruntime's exceptions share no base class of their own
        raise ModelError(
            f"it does not work on a tensor of shape {view.shape}, which is one image; where its operands or attributes "
            f"hold the size of a batch, export the model for a batch of 1"
        ) from None
    return [_moved(view, node.name, result.astype(np.int64), fill) for result in results]


def _fill_with_number(pad, operands, opsets):
    """Let a Pad node fill with the number -1, in place."""
    if opsets.get("", 17) < 11:
        kept = [a for a in pad.attribute if a.name != "value"]
        del pad.attribute[:]
        pad.attribute.extend([*kept, helper.make_attribute("value", -1.0)])
        return
    inputs = [*pad.input, "", "", ""]
    operands.pop(inputs[2], None)
    operands["superlip_fill"] = np.array(-1, np.float32)
    pad.input[:] = [*inputs[:2], "superlip_fill", *filter(None, inputs[3:4])]


def _moved(view, name, index, fill):
    """View of elements of ``view``'s value that stand where ``index`` says, by the node ``name``."""
    trace = {"moves": (*view.moves, name), "before": view}
    if index.size and (index != np.arange(index.size).reshape(index.shape)).any():
        hole = fill if (index == -1).any() and fill is not None else view.fill
        return View(view.value, index.shape, index, hole, **trace)
    if view.index is None and index.size == view.numbers().size:
        return View(view.value, index.shape, **trace)
    return View(view.value, index.shape, index, view.fill, **trace)


def of_value(view: View, value: str, fill: int | None) -> View:
    """The same movements of another value, whose elements lie as those of the view's; ``fill`` is what was added."""
    before = view.before
    if before is not None:
        before = of_value(before, value, None if before.fill is None else fill)
    return replace(view, value=value, fill=fill, before=before)


def joined(views: Sequence[View], axis: int, name: str) -> View | None:
    """View of views one after the other along ``axis`` by the node ``name``, where they are of one value; else None."""
    first = views[0]
    holes = {v.fill for v in views if v.fill is not None}
    if any(v.value != first.value for v in views) or len(holes) > 1:
        return None
    index = np.concatenate([v.numbers() for v in views], axis=axis)
    moves = dict.fromkeys(move for v in views for move in v.moves)
    return View(first.value, index.shape, index, next(iter(holes), None), (*moves, name))


def is_movable(view: View, source: ir.Shape) -> bool:
    """Whether the quantized graph can express a view of a value of shape ``source``."""
    try:
        layout_nodes(view, source)
    except ModelError:
        return False
    return True


def is_reshaped(view: View, source: ir.Shape) -> bool:
    """Whether a view of a value of shape ``source`` mixes its channels, rows and columns anew."""
    try:
        return any(kind is ir.Reshape for kind, _, _ in layout_nodes(view, source))
    except ModelError:
        return False


def last_move(view: View) -> View | None:
    """What the last node did to the view before it, as a view of that one's elements; None where that is not all.

    Two movements that the quantized graph has one by one may have no expression together.
    """
    before = view.before
    if before is None or before.before is None:
        return None
    numbers, wanted = before.numbers().reshape(-1), view.numbers()
    order = np.argsort(numbers, kind="stable")
    places = np.searchsorted(numbers[order], wanted).clip(0, len(numbers) - 1)
    index = order[places]
    if (wanted < 0).any() or (numbers[index] != wanted).any():
        return None
    return View(before.value, view.shape, index, None, view.moves[-1:])


def first_impossible(view: View, source: ir.Shape) -> str | None:
    """Name of the node since which a view is none that the quantized graph can express."""
    name = view.moves[-1] if view.moves else None
    while view.before is not None and not is_movable(view.before, source):
        view = view.before
        name = view.moves[-1] if view.moves else name
    return name


def layout_nodes(view: View, source: ir.Shape) -> list[Step]:
    """The steps that turn a value into the view.

    Parameters
    ----------
    view : View
    source : tuple
        (C, H, W) of the value.

    Returns
    -------
    list of (ir node class, keyword arguments, (C, H, W) of the result); empty where nothing is to be done

    Raises
    ------
    ModelError
        Where the movement is none that the quantized graph can express.
    """
    target = image_shape(view.shape)
    count = int(np.prod(source))
    is_whole = view.index is None and int(np.prod(view.shape)) == count
    index = view.numbers().reshape(target) if not is_whole else np.empty(0)
    if is_whole or (index.size == count and (index.reshape(-1) == np.arange(count)).all()):
        return [] if target == tuple(source) else [(ir.Reshape, {}, target)]
    steps: list[Step] = []
    inside: NDArray[np.bool_] = np.asarray(index >= 0)
    if not inside.all():
        steps.append(_padding(inside, view.fill, target))
        top, left, bottom, right = steps[0][1]["pads"]
        index = index[:, top : target[1] - bottom, left : target[2] - right]
    block = _depth_to_space(index, source) or _space_to_depth(index, source)
    return (block or _gather(index, source)) + steps


def _padding(inside: NDArray[np.bool_], fill: int | None, target: ir.Shape) -> Step:
    rows, cols = np.any(inside, axis=(0, 2)), np.any(inside, axis=(0, 1))
    top, left = int(rows.argmax()), int(cols.argmax())
    bottom, right = int(rows[::-1].argmax()), int(cols[::-1].argmax())
    if fill is None or not inside[:, top : target[1] - bottom, left : target[2] - right].all():
        raise ModelError("padding of channels is not supported, only of rows and columns")
    return ir.Pad, {"pads": (top, left, bottom, right), "value": fill}, target


def _gather(index: NDArray, source: ir.Shape) -> list[Step]:
    """Channel selection, then row and column selection."""
    c, h, w = index.shape
    n, sh, sw = source
    if index.size == 0:
        raise ModelError("a tensor without elements is not supported")
    channels = index[:, 0, 0] // (sh * sw)
    rest = index[0] - channels[0] * sh * sw
    rows, cols = rest[:, 0] // sw, rest[0] % sw
    expected = channels[:, None, None] * sh * sw + rows[:, None] * sw + cols
    inside = rows.min() >= 0 and rows.max() < sh  # others are rows of another channel
    if not (inside and np.array_equal(expected, index)):
        # the same movement behind a change of shape, as in a channel shuffle of a reshaped tensor
        if (n, sh, sw) != (index.size // (h * w), h, w) and n * sh * sw % (h * w) == 0 and (h, w) != (sh, sw):
            reshaped = (n * sh * sw // (h * w), h, w)
            return [(ir.Reshape, {}, reshaped), *_gather(index, reshaped)]
        raise ModelError("this movement of elements is no channel shuffle, split, resize or block rearrangement")
    steps: list[Step] = []
    if not np.array_equal(channels, np.arange(n)):
        if np.array_equal(channels, np.arange(channels[0], channels[0] + c)):
            steps.append((ir.Slice, {"start": int(channels[0]), "stop": int(channels[0]) + c}, (c, sh, sw)))
        else:
            if c * n > _LARGEST_SHUFFLE:
                raise ModelError(f"a shuffle of {n:,} channels is too large for an identity convolution")
            steps.append((ir.Shuffle, {"order": channels.astype(np.int64)}, (c, sh, sw)))
    if not (np.array_equal(rows, np.arange(sh)) and np.array_equal(cols, np.arange(sw))):
        if copies(rows) is None or copies(cols) is None:
            raise ModelError("rows or columns are moved in no regular pattern of at most 15 pixels, nor in a few runs")
        steps.append((ir.Resize, {"rows": rows.astype(np.int64), "cols": cols.astype(np.int64)}, (c, h, w)))
    return steps


def _depth_to_space(index: NDArray, source: ir.Shape) -> list[Step] | None:
    n, h, w = source
    c, rows, cols = index.shape
    block = rows // h if h and rows % h == 0 else 0
    if block < 2 or cols != w * block or c * block * block != n:
        return None
    numbers = np.arange(n * h * w)
    maps = {
        "DCR": numbers.reshape(block, block, c, h, w).transpose(2, 3, 0, 4, 1),
        "CRD": numbers.reshape(c, block, block, h, w).transpose(0, 3, 1, 4, 2),
    }
    for mode, expected in maps.items():
        if np.array_equal(expected.reshape(index.shape), index):
            return [(ir.DepthToSpace, {"block": block, "mode": mode}, index.shape)]
    return None


def _space_to_depth(index: NDArray, source: ir.Shape) -> list[Step] | None:
    """SpaceToDepth, and a selection of its channels where they come in another order (slices of every n-th pixel)."""
    n, h, w = source
    c, rows, cols = index.shape
    block = h // rows if rows and h % rows == 0 else 0
    if block < 2 or w != cols * block or c == n:
        return None
    channel, y, x = np.unravel_index(index[:, 0, 0], source)
    pixels = np.arange(rows)[:, None] * (block * w) + np.arange(cols) * block
    if max(y.max(), x.max()) >= block or not np.array_equal(index[:, 0, 0, None, None] + pixels, index):
        return None
    steps: list[Step] = [(ir.SpaceToDepth, {"block": block}, (n * block * block, rows, cols))]
    order = (y * block + x) * n + channel
    if not np.array_equal(order, np.arange(n * block * block)):
        steps.append((ir.Shuffle, {"order": order.astype(np.int64)}, index.shape))
    return steps


class Copy(NamedTuple):
    """Rows (or columns) first, first + step, ... become rows origin, origin + spacing, ...: ``number`` of them."""

    first: int
    step: int
    number: int
    origin: int
    spacing: int


def copies(index: ArrayLike) -> list[Copy] | None:
    """Row (or column) numbers as the fewest of ``progressions``, or of at most 8 runs one after the other; or None."""
    parts = progressions(index)
    interleaved = None if parts is None else [Copy(*part, at, len(parts)) for at, part in enumerate(parts)]
    runs = _runs(np.asarray(index))
    return min((found for found in (interleaved, runs) if found is not None), key=len, default=None)


def _runs(numbers: NDArray[np.integer]) -> list[Copy] | None:
    runs: list[Copy] = []
    at = 0
    while at < len(numbers):
        steps = np.diff(numbers[at:])
        step = int(steps[0]) if steps.size else 1
        regular = np.flatnonzero(steps != step) if 0 < step < 256 else np.zeros(1, int)
        count = int(regular[0]) + 1 if regular.size else len(numbers) - at
        runs.append(Copy(int(numbers[at]), step if count > 1 else 1, count, at, 1))
        at += count
        if len(runs) > _MOST_RUNS:
            return None
    return runs


def progressions(index: ArrayLike) -> list[tuple[int, int, int]] | None:
    """Row (or column) numbers as few interleaved arithmetic progressions: a list of (first, step, count), or None.

    Entry ``i`` is of progression ``i % len(list)``. Each is what one identity convolution with a stride can copy.
    """
    numbers = np.asarray(index)
    for period in range(1, min(len(numbers), LARGEST_STEP) + 1):
        parts = [numbers[i::period] for i in range(period)]
        steps = [np.unique(np.diff(part)) for part in parts]
        if all(len(step) < 2 and (step > 0).all() and (step < 256).all() for step in steps):
            pairs = zip(parts, steps, strict=True)
            return [(int(part[0]), int(step[0]) if len(step) else 1, len(part)) for part, step in pairs]
    return None
