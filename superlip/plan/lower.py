"""From the quantized graph to the operations of a node: what runs, on which words.

Lowering decides where each value lies (`Placement`) and rewrites what the hardware has no instruction for:

* The first convolution of an image with few channels is folded: the host lays the kernel's rows and columns out as
  channels once (im2col), so that the array's Tn inputs are in use.
* A maximum pooling behind a convolution is fused into it where that pays: VECTOR takes the maximum of the sums.
  Requantization, clip and a rising table keep the order of numbers, so the bits are the same where no sum can leave
  int32, with its bias or without. One of a concatenation becomes one of each part.
* A layer whose last channel group is part-filled writes its channels there several times, for convolutions behind it
  whose kernel columns then share a pass (``Op.fold``).
* A concatenation is no operation: its inputs are written where it lies. Where lanes don't fit, an identity
  convolution moves them; it is exact.
* Permutations of channels, DepthToSpace, SpaceToDepth, Pad and Resize are identity convolutions or copies.
* Host operations come behind the last accelerated one where nothing accelerated needs them; others are put between two
  operations, as late as can be, so that several of them share one stop of the boards.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from superlip.graph import ir
from superlip.graph.onnx.onnxtools import reshape_model
from superlip.graph.onnx.views import progressions
from superlip.ops.layout import Placement, Storage
from superlip.ops.operation import Op
from superlip.rtl.isa import MAX_FOLD

from .network import HostStep, Network
from .timing import fusing_pays

__all__ = ["LoweringError", "lower"]


class LoweringError(ValueError):
    """A node that the accelerator can't run; the message names it and says why."""


def lower(graph, tn):
    """Lower a graph for nodes of ``tn`` channels a word.

    Raises
    ------
    LoweringError
        If a node can't run on the accelerator.
    """
    return _Lowering(graph, tn).run()


def _identity_order(values, order, kernel=(1, 1), at=(0, 0)):
    """Weights of an identity convolution: output channel i takes input channel order[i] at kernel position ``at``."""
    weights = np.zeros((len(order), values, *kernel), np.int8)
    weights[np.arange(len(order)), order, at[0], at[1]] = 1
    return weights


def _rising(table):
    """Whether a table (or none) keeps the order of numbers."""
    return table is None or bool((np.diff(np.roll(table.astype(int), 128)) >= 0).all())


def _never_wraps(conv):
    """Whether no sum of a convolution leaves int32, before its bias is added or behind.

    Additions modulo 2**32 may come in any order; the maximum of sums and the addition of a bias only without wrapping.
    """
    weights = conv.weights.reshape(len(conv.weights), -1).astype(np.int64)
    bias = conv.bias.astype(np.int64)
    lowest = np.minimum(-128 * weights, 127 * weights).sum(axis=1)
    highest = np.maximum(-128 * weights, 127 * weights).sum(axis=1)
    int32 = np.iinfo(np.int32)
    return bool(
        np.minimum(lowest, lowest + bias).min() >= int32.min and np.maximum(highest, highest + bias).max() <= int32.max
    )


class _Lowering:
    def __init__(self, graph, tn):
        self.graph, self.tn = graph, tn
        self.graph = graph = self._pool_before_concat(graph)
        self.ops, self.places, self.outputs, self.contents = [], {}, [], {}
        self.uses = {}
        for node in graph.nodes:
            for name in node.inputs:
                self.uses.setdefault(name, []).append(node)
        self.skipped = set()

    def run(self):
        nodes, host = self._divide_host()
        if all(isinstance(node, ir.Host) for node in nodes):
            raise LoweringError(f"{self.graph.name}: no operation for the accelerator")
        needed = [name for node in host for name in node.inputs]
        made = {node.output for node in nodes} | {self.graph.input}
        self.outputs = list(dict.fromkeys(name for name in (*self.graph.outputs, *needed) if name in made))
        nodes, prepare, shape = self._fold_input(nodes)
        storage = Storage(self.graph.input, *shape, self.tn)
        self.places[self.graph.input] = Placement(storage, 0, shape[0])
        self._place_concatenations(nodes)
        steps, waiting = [], []
        for node in nodes:
            if isinstance(node, ir.Host):
                waiting.append(node)
                continue
            if any(name == host_node.output for name in node.inputs for host_node in waiting):
                steps += [HostStep(host_node, len(self.ops)) for host_node in waiting]
                for host_node in waiting:
                    self._own_place(host_node.output)
                waiting = []
            if node.output not in self.skipped:
                method = getattr(self, f"_{type(node).__name__.lower()}", None)
                if method is None:
                    raise LoweringError(f"{node.name}: {type(node).__name__} does not run on the accelerator")
                method(node)
        self._fold_columns()
        return Network(
            self.graph, self.ops, self.places, self.places[self.graph.input], prepare, self.outputs, self.contents,
            host, steps,
        )  # fmt: skip

    def _divide_host(self):
        """Nodes of the accelerator with the host nodes that one of them needs, and the host nodes behind."""
        nodes, behind, needed = [], [], set()
        for node in reversed([self._to_host(node) for node in self.graph.nodes]):
            if isinstance(node, ir.Host) and node.output not in needed:
                behind.append(node)
                continue
            if self.graph.values[node.output].is_float:
                raise LoweringError(f"{node.name}: its result is no int8 tensor, and the accelerator needs it")
            nodes.append(node)
            needed.update(node.inputs)
        return nodes[::-1], behind[::-1]

    def _to_host(self, node):
        """A node that the host runs where the accelerator can't: a reshape that mixes channels and pixels."""
        if not isinstance(node, ir.Reshape):
            return node
        source, result = (self.graph.values[name] for name in (*node.inputs, node.output))
        if source.shape == result.shape and not source.is_float:
            return node
        model = reshape_model(source.shape, result.shape, is_float=source.is_float)
        return ir.Host(
            name=node.name, inputs=node.inputs, output=node.output, onnx_names=node.onnx_names, model=model,
            reason="a reshape that mixes channels and pixels",
        )  # fmt: skip

    # -- places --------------------------------------------------------------------------------------------

    def _place_concatenations(self, nodes):
        """Give the inputs of concatenations their place in it, where their producer can write there."""
        producer = {node.output: node for node in nodes}
        self.fused_tables = {}
        for node in reversed(nodes):
            if not isinstance(node, ir.Concat):
                continue
            if node.output not in self.places:
                self._own_place(node.output)
            offset = self.places[node.output].offset
            for name, table in zip(node.inputs, node.tables, strict=True):
                channels = self.graph.values[name].shape[0]
                source = producer.get(name)
                aligned = isinstance(source, ir.Pool) and offset % self.tn == 0 and table is None
                if isinstance(source, ir.Pool):
                    conv = producer.get(source.inputs[0])
                    fused = isinstance(conv, ir.Conv) and self._fusable_pool(conv) is source and _rising(table)
                    source = conv if fused else None
                direct = (isinstance(source, ir.Conv | ir.Concat) or aligned) and name not in self.places
                if table is not None:
                    only = len(self.uses[name]) == 1 and name not in self.outputs
                    direct = direct and only and isinstance(source, ir.Conv) and source.table is None
                if direct:
                    self.places[name] = Placement(self.places[node.output].storage, offset, channels)
                    if table is not None:
                        self.fused_tables[name] = table
                offset += channels

    def _own_place(self, name):
        channels, height, width = self.graph.values[name].shape
        self.places[name] = Placement(Storage(name, channels, height, width, self.tn), 0, channels)
        self.contents[name] = name, 0
        return self.places[name]

    def _place(self, name):
        return self.places[name] if name in self.places else self._own_place(name)

    def _zero(self, *names):
        return tuple(self.graph.values[name].zero_point for name in names)

    def _add_op(self, node, output, **more):
        inputs = tuple(self.places[name] for name in node.inputs)
        grid = more.pop("grid", (output.storage.height, output.storage.width))
        zero_points = more.pop("zero_points", None) or self._zero(*node.inputs, node.output)
        pool = more.get("pool")
        name = node.name if pool is None else f"{node.name} + {pool.name}"
        self.ops.append(Op(name, node, inputs, output, zero_points, grid, **more))

    # -- operations ----------------------------------------------------------------------------------------

    def _conv(self, node):
        graph = self.graph
        rows, cols = graph.values[node.output].shape[1:]
        macs = int(np.prod(self.original.get(node.name, node).weights.shape)) * rows * cols
        pool = self._fusable_pool(node)
        table = self.fused_tables.get(node.output if pool is None else pool.output)
        if table is not None:
            node = dataclasses.replace(node, table=table, table_zero_point=graph.values[node.output].zero_point)
        if pool is None:
            self._add_op(node, self._place(node.output), macs=macs, grid=(rows, cols))
            return
        self.skipped.add(pool.output)
        place = self._place(pool.output)
        zero_points = self._zero(*node.inputs, node.output)
        self._add_op(node, place, macs=macs, pool=pool, sums_size=(rows, cols), zero_points=zero_points)

    def _pool_before_concat(self, graph):
        """A maximum pooling of a concatenation becomes one of each part, where the convolutions in front take it in."""
        users, producer = {}, {node.output: node for node in graph.nodes}
        for node in graph.nodes:
            for name in node.inputs:
                users.setdefault(name, []).append(node)

        def alone(name):
            return len(users.get(name, [])) == 1 and name not in graph.outputs

        values, replaced = dict(graph.values), {}
        for pool in graph.nodes:
            concat = producer.get(pool.inputs[0])
            if (
                not isinstance(pool, ir.Pool)
                or pool.kind != "max"
                or not isinstance(concat, ir.Concat)
                or not alone(concat.output)
                or not all(isinstance(producer.get(name), ir.Conv) and alone(name) for name in concat.inputs)
                or not all(self._fusable(producer[name], pool) for name in concat.inputs)
                or not all(_rising(table) for table in concat.tables)
            ):
                continue
            parts = []
            for number, name in enumerate(concat.inputs):
                pooled = f"{name}.{pool.name}"
                shape = values[name].shape[0], *values[pool.output].shape[1:]
                values[pooled] = dataclasses.replace(values[name], name=pooled, shape=shape)
                part = dataclasses.replace(pool, name=f"{pool.name}.{number}", inputs=(name,), output=pooled)
                parts.append(part)
            inputs = tuple(part.output for part in parts)
            replaced[pool.name] = [*parts, dataclasses.replace(concat, inputs=inputs, output=pool.output)]
            replaced[concat.name] = []
        nodes = [new for node in graph.nodes for new in replaced.get(node.name, [node])]
        return dataclasses.replace(graph, nodes=nodes, values=values) if replaced else graph

    def _fusable_pool(self, node):
        users = self.uses.get(node.output, [])
        if len(users) != 1 or node.output in self.outputs or node.output in self.places:
            return None
        return users[0] if isinstance(users[0], ir.Pool) and self._fusable(node, users[0]) else None

    def _fusable(self, node, pool):
        """Whether a pooling of what a convolution computes can be done on its sums, and pays."""
        return (
            pool.kind == "max"
            and pool.kernel != (1, 1)
            and (pool.low, pool.high) == (-128, 127)
            and _rising(node.table)
            and bool((node.scale > 0).all())
            and _never_wraps(node)
            and self._gains(node, pool)
        )

    def _gains(self, node, pool):
        """Whether fusing a pooling pays. One whose windows overlap costs the array the rows that chunks have in common,
        and saves VECTOR the requantization of every sum: it pays where VECTOR is the slower one."""
        if pool.kernel == pool.strides and not any(pool.pads):
            return True
        kh, kw = node.weights.shape[2:]
        channels = self.graph.values[node.inputs[0]].shape[0]
        sums = int(np.prod(self.graph.values[node.output].shape[1:]))
        results = int(np.prod(self.graph.values[pool.output].shape[1:]))
        passes = kh * ((channels - 1) // self.tn * kw + -(-kw // self._most_copies(channels, node)))
        overlaps = any(k > s for k, s in zip(pool.kernel, pool.strides, strict=True))
        return not overlaps or fusing_pays(sums, results, pool.kernel[0] * pool.kernel[1], passes)

    def _pool(self, node):
        self._elementwise(node)

    def _add(self, node):
        self._elementwise(node)

    def _mul(self, node):
        shapes = {self.graph.values[name].shape for name in node.inputs}
        if len(shapes) != 1:
            raise LoweringError(
                f"{node.name}: a product of tensors of different shapes does not run on the accelerator"
            )
        self._elementwise(node)

    def _table(self, node):
        self._elementwise(node)

    def _elementwise(self, node):
        """Operations lane by lane: all operands must begin at the same lane."""
        inputs = [self.places[name] for name in node.inputs]
        lanes = {place.offset % self.tn for place in inputs}
        place = self.places.get(node.output)
        if place is None:
            lane = lanes.pop() if len(lanes) == 1 else 0
            lanes = {lane}
            channels, height, width = self.graph.values[node.output].shape
            storage = Storage(node.output, lane + channels, height, width, self.tn)
            place = self.places[node.output] = Placement(storage, lane, channels)
            self.contents[node.output] = node.output, lane
        for name, source in zip(node.inputs, inputs, strict=True):
            if source.offset % self.tn != place.offset % self.tn:
                moved = Placement(
                    Storage(
                        f"{name}.moved{len(self.ops)}",
                        place.offset % self.tn + source.channels,
                        *_size(source),
                        self.tn,
                    ),
                    place.offset % self.tn,
                    source.channels,
                )
                self.contents[moved.storage.name] = name, moved.offset
                self._move(f"{node.name}.move", source, moved)
                inputs[node.inputs.index(name)] = moved
        zero_points = self._zero(*node.inputs, node.output)
        grid = (place.storage.height, place.storage.width)
        self.ops.append(Op(node.name, node, tuple(inputs), place, zero_points, grid))

    def _move(self, name, source, dest, *, order=None, table=None, **more):
        """An identity convolution: result i is channel order[i] of the source, unchanged (or through a table)."""
        order = np.arange(dest.channels) if order is None else np.asarray(order)
        kernel, at = more.pop("kernel", (1, 1)), more.pop("at", (0, 0))
        node = ir.Conv(
            name=name, inputs=(), output=dest.storage.name,
            weights=_identity_order(source.channels, order, kernel, at),
            bias=np.zeros(len(order), np.int32), scale=np.ones(len(order), np.float32), table=table,
            strides=more.pop("strides", (1, 1)), pads=more.pop("pads", (0, 0, 0, 0)),
        )  # fmt: skip
        grid = more.pop("grid", None) or (dest.storage.height, dest.storage.width)
        pad_value = more.pop("pad_value", 0)
        self.ops.append(Op(name, node, (source,), dest, (pad_value, 0), grid, **more))

    def _concat(self, node):
        offset = self.places[node.output].offset
        storage = self.places[node.output].storage
        for position, (name, table) in enumerate(zip(node.inputs, node.tables, strict=True)):
            channels = self.graph.values[name].shape[0]
            place = Placement(storage, offset, channels)
            offset += channels
            source = self.places[name]
            if source.storage is not storage or source.offset != place.offset:
                self._move(f"{node.name}.{position}", source, place, table=table)

    def _slice(self, node):
        source = self.places[node.inputs[0]]
        self.places[node.output] = Placement(source.storage, source.offset + node.start, node.stop - node.start)

    def _reshape(self, node):
        self.places[node.output] = self.places[node.inputs[0]]

    def _pad(self, node):
        self._move(
            node.name, self.places[node.inputs[0]], self._place(node.output), pads=node.pads, pad_value=node.value
        )

    def _shuffle(self, node):
        self._move(node.name, self.places[node.inputs[0]], self._place(node.output), order=node.order)

    def _resize(self, node):
        source, dest = self.places[node.inputs[0]], self._place(node.output)
        rows, cols = progressions(node.rows), progressions(node.cols)
        if rows is None or cols is None:
            raise LoweringError(f"{node.name}: rows or columns in no regular pattern do not run on the accelerator")
        single = len(rows) == len(cols) == 1
        for y, (top, stride_y, height) in enumerate(rows):
            for x, (left, stride_x, width) in enumerate(cols):
                self._move(
                    node.name if single else f"{node.name}.{y}.{x}", source, dest, grid=(height, width),
                    step=(len(rows), len(cols)), origin=(y, x), strides=(stride_y, stride_x), pads=(-top, -left, 0, 0),
                )  # fmt: skip

    def _depthtospace(self, node):
        source, dest = self.places[node.inputs[0]], self._place(node.output)
        b, channels = node.block, dest.channels
        if b > 15:
            raise LoweringError(f"{node.name}: blocks of more than 15 pixels do not run on the accelerator")
        for y in range(b):
            for x in range(b):
                index = np.arange(channels)
                order = (y * b + x) * channels + index if node.mode == "DCR" else index * b * b + y * b + x
                self._move(
                    f"{node.name}.{y}.{x}", source, dest, order=order, grid=_size(source), step=(b, b), origin=(y, x)
                )

    def _spacetodepth(self, node):
        source, dest = self.places[node.inputs[0]], self._place(node.output)
        b = node.block
        channels = source.channels
        weights = np.zeros((b, b, channels, channels, b, b), np.int8)
        for y in range(b):
            for x in range(b):
                weights[y, x, np.arange(channels), np.arange(channels), y, x] = 1
        conv = ir.Conv(
            name=node.name, inputs=(), output=node.output, weights=weights.reshape(-1, channels, b, b),
            bias=np.zeros(dest.channels, np.int32), scale=np.ones(dest.channels, np.float32), strides=(b, b),
        )  # fmt: skip
        grid = (dest.storage.height, dest.storage.width)
        self.ops.append(Op(node.name, conv, (source,), dest, (0, 0), grid))

    def _fold_columns(self):
        """Let kernel columns share a pass where a convolution's input leaves most lanes of a word idle.

        The convolution in front writes its channels several times in each word, which costs nothing; MATMUL then takes
        every copy from another column.
        """
        writers = {}
        for index, op in enumerate(self.ops):
            writers.setdefault(op.output.storage.name, []).append(index)
        for index, op in enumerate(self.ops):
            place = op.inputs[0]
            mine = writers.get(place.storage.name, [])
            if not op.is_conv or len(mine) != 1 or not self.ops[mine[0]].is_conv:
                continue
            whole = place.offset == 0 and place.channels == place.storage.channels
            copies = self._most_copies(place.channels, op.node) if whole else 1
            if copies == 1:
                continue
            self.ops[index] = dataclasses.replace(op, fold=copies)
            self.ops[mine[0]] = dataclasses.replace(self.ops[mine[0]], copies=copies)

    def _most_copies(self, channels, node):
        """How often the last words of a convolution's input can hold their channels, if that is of use."""
        if node.weights.shape[3] == 1 or node.strides[1] > 1 or node.dilations[1] > 1 or node.groups > 1:
            return 1
        last = (channels - 1) % self.tn + 1
        return next((1 << f for f in range(MAX_FOLD, 0, -1) if last << f <= self.tn), 1)

    # -- the image -----------------------------------------------------------------------------------------

    def _fold_input(self, nodes):
        """Fold the first convolution's kernel into the image's channels, where that makes fewer passes."""
        self.original = {}
        graph, tn = self.graph, self.tn
        value = graph.values[graph.input]
        readers = [node for node in nodes if graph.input in node.inputs and not isinstance(node, ir.Host)]
        unchanged = nodes, (lambda images: images), value.shape
        if len(readers) != 1 or not isinstance(readers[0], ir.Conv) or graph.input in self.outputs:
            return unchanged
        conv = readers[0]
        m, n, kh, kw = conv.weights.shape
        if conv.groups != 1 or -(-n * kh * kw // tn) >= -(-n // tn) * kh * kw:
            return unchanged
        folded = dataclasses.replace(
            conv,
            weights=np.ascontiguousarray(conv.weights.reshape(m, n * kh * kw, 1, 1)),
            strides=(1, 1),
            pads=(0, 0, 0, 0),
            dilations=(1, 1),
        )
        _, rows, cols = graph.values[conv.output].shape
        self.original[conv.name] = conv
        prepare = _Taps(conv, value.zero_point, rows, cols)
        return [folded if node is conv else node for node in nodes], prepare, (n * kh * kw, rows, cols)


@dataclass(frozen=True)
class _Taps:
    """im2col of the image: channel (n, ky, kx) of pixel (r, c) is what the kernel sees there."""

    conv: ir.Conv
    zero_point: int
    rows: int
    cols: int

    def settings(self):
        """What a driver needs to do the same."""
        conv = self.conv
        return {
            "kernel": conv.weights.shape[2:], "strides": conv.strides, "pads": conv.pads, "dilations": conv.dilations,
            "pad_value": self.zero_point,
        }  # fmt: skip

    def __call__(self, images):
        conv, rows, cols = self.conv, self.rows, self.cols
        n, kh, kw = conv.weights.shape[1:]
        top, left, bottom, right = conv.pads
        edges = ((0, 0), (0, 0), (top, bottom), (left, right))
        padded = np.pad(images, edges, constant_values=np.int8(self.zero_point))
        (sy, sx), (dy, dx) = conv.strides, conv.dilations
        taps = [
            padded[:, :, ky * dy : ky * dy + (rows - 1) * sy + 1 : sy, kx * dx : kx * dx + (cols - 1) * sx + 1 : sx]
            for ky in range(kh)
            for kx in range(kw)
        ]
        return np.stack(taps, axis=2).reshape(len(images), n * kh * kw, rows, cols)


def _size(place):
    return place.storage.height, place.storage.width
