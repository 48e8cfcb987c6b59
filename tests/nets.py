"""Random quantized graphs, straight in the compiler's terms: what property tests compile and run."""

import dataclasses
from dataclasses import replace

import numpy as np
from onnx import TensorProto, helper

from superlip.graph import ir
from superlip.graph.onnx.onnxtools import small_model


class Builder:
    """Builds a graph node by node; every method returns the name of its output."""

    def __init__(self, rng, shape):
        self.rng = rng
        self.values, self.nodes = {}, []
        self.input = self._value("image", shape)

    def _value(self, name, shape):
        scale, zero_point = float(2.0 ** self.rng.integers(-6, -2)), int(self.rng.integers(-128, 128))
        self.values[name] = ir.Value(name, tuple(int(n) for n in shape), scale, zero_point)
        return name

    def _clip(self):
        low = int(self.rng.choice([-128, -20, 0]))
        return {"low": low, "high": int(self.rng.choice([127, 90]))}

    def conv(self, x, channels, kernel, *, strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1), groups=1, table=False):
        c, h, w = self.values[x].shape
        kh, kw = kernel
        weights = self.rng.integers(-128, 128, (channels, c // groups, kh, kw)).astype(np.int8)
        weights.reshape(-1)[self.rng.integers(0, weights.size, 3)] = -128
        bias = self.rng.integers(-20000, 20000, channels) - self.values[x].zero_point * weights.astype(np.int64).sum(
            axis=(1, 2, 3)
        )
        spread = 60 / (74 * 74 * np.sqrt(c // groups * kh * kw))
        rows = (h + pads[0] + pads[2] - (kh - 1) * dilations[0] - 1) // strides[0] + 1
        cols = (w + pads[1] + pads[3] - (kw - 1) * dilations[1] - 1) // strides[1] + 1
        name = f"conv{len(self.nodes)}"
        self.nodes.append(
            ir.Conv(
                name=name, inputs=(x,), output=f"{name}.y", weights=weights, bias=bias.astype(np.int32),
                scale=(spread * self.rng.uniform(0.3, 1.5, channels)).astype(np.float32), strides=strides, pads=pads,
                dilations=dilations, groups=groups, **self._clip(),
                table=self.rng.integers(-128, 128, 256).astype(np.int8) if table else None,
            )
        )  # fmt: skip
        return self._value(f"{name}.y", (channels, rows, cols))

    def pool(self, x, kind, kernel, *, strides=(1, 1), pads=(0, 0, 0, 0), count_include_pad=False):
        c, h, w = self.values[x].shape
        rows = (h + pads[0] + pads[2] - kernel[0]) // strides[0] + 1
        cols = (w + pads[1] + pads[3] - kernel[1]) // strides[1] + 1
        name = f"pool{len(self.nodes)}"
        scale = None
        if kind == "average":
            count = np.arange(kernel[0] * kernel[1] + 1)
            scale = np.float32(0.9) / np.maximum(count, 1).astype(np.float32)
        self.nodes.append(
            ir.Pool(
                name=name, inputs=(x,), output=f"{name}.y", kind=kind, kernel=kernel, strides=strides, pads=pads,
                count_include_pad=count_include_pad, scale=scale,
            )
        )  # fmt: skip
        out = self._value(f"{name}.y", (c, rows, cols))
        if kind == "max":  # a maximum keeps scale and zero point
            source = self.values[x]
            self.values[out] = ir.Value(out, (c, rows, cols), source.scale, source.zero_point)
        return out

    def add(self, a, b):
        name = f"add{len(self.nodes)}"
        mult_a, mult_b = (int(m) for m in self.rng.integers(1 << 22, 1 << 25, 2))
        self.nodes.append(
            ir.Add(name=name, inputs=(a, b), output=f"{name}.y", mult_a=mult_a, mult_b=mult_b, shift=25, **self._clip())
        )
        return self._value(f"{name}.y", self.values[a].shape)

    def mul(self, a, b):
        name = f"mul{len(self.nodes)}"
        self.nodes.append(ir.Mul(name=name, inputs=(a, b), output=f"{name}.y", scale=0.01, **self._clip()))
        return self._value(f"{name}.y", self.values[a].shape)

    def table(self, x):
        name = f"table{len(self.nodes)}"
        table = self.rng.integers(-128, 128, 256).astype(np.int8)
        self.nodes.append(ir.Table(name=name, inputs=(x,), output=f"{name}.y", table=table))
        return self._value(f"{name}.y", self.values[x].shape)

    def host(self, x, kind="LRN"):
        """LRN (or another float operator without parameters) of one tensor, int8 again behind it."""
        name = f"host{len(self.nodes)}"
        source = self.values[x]
        out = self._value(f"{name}.y", source.shape)
        result = self.values[out]
        attributes = {"size": 5, "alpha": 0.1} if kind == "LRN" else {"axis": 1}
        nodes = [
            helper.make_node("DequantizeLinear", ["x", "x_scale", "x_zero"], ["real"]),
            helper.make_node(kind, ["real"], ["normal"], **attributes),
            helper.make_node("QuantizeLinear", ["normal", "y_scale", "y_zero"], ["y"]),
        ]
        constants = {
            "x_scale": np.float32(source.scale), "x_zero": np.int8(source.zero_point),
            "y_scale": np.float32(result.scale), "y_zero": np.int8(result.zero_point),
        }  # fmt: skip
        model = small_model(nodes, [("x", TensorProto.INT8, [1, *source.shape])], ["y"], constants, {"": 17})
        self.nodes.append(ir.Host(name=name, inputs=(x,), output=out, model=model, reason=kind))
        return out

    def host_real(self, *inputs):
        """Sum of what tensors stand for, in float32: the host keeps it."""
        name = f"host{len(self.nodes)}"
        values = [self.values[x] for x in inputs]
        self.values[f"{name}.y"] = ir.Value(f"{name}.y", values[0].shape, 1.0, 0, is_float=True)
        nodes, constants, graph_inputs = [], {}, []
        for i, value in enumerate(values):
            kind = TensorProto.FLOAT if value.is_float else TensorProto.INT8
            graph_inputs.append((f"x{i}", kind, [1, *value.shape]))
            if value.is_float:
                nodes.append(helper.make_node("Identity", [f"x{i}"], [f"real{i}"]))
                continue
            constants |= {f"scale{i}": np.float32(value.scale), f"zero{i}": np.int8(value.zero_point)}
            nodes.append(helper.make_node("DequantizeLinear", [f"x{i}", f"scale{i}", f"zero{i}"], [f"real{i}"]))
        nodes.append(helper.make_node("Sum", [f"real{i}" for i in range(len(values))], ["y"]))
        model = small_model(nodes, graph_inputs, ["y"], constants, {"": 17})
        self.nodes.append(ir.Host(name=name, inputs=tuple(inputs), output=f"{name}.y", model=model, reason="Sum"))
        return f"{name}.y"

    def host_quantized(self, x):
        """int8 of a tensor that the host keeps."""
        name, source = f"host{len(self.nodes)}", self.values[x]
        out = self._value(f"{name}.y", source.shape)
        node = helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["y"])
        result = self.values[out]
        constants = {"scale": np.float32(result.scale), "zero": np.int8(result.zero_point)}
        model = small_model([node], [("x", TensorProto.FLOAT, [1, *source.shape])], ["y"], constants, {"": 17})
        self.nodes.append(ir.Host(name=name, inputs=(x,), output=out, model=model, reason="QuantizeLinear"))
        return out

    def reshape(self, x, shape):
        return self._shuffled(ir.Reshape, x, shape)

    def _shuffled(self, kind, x, shape, **fields):
        name = f"{kind.__name__.lower()}{len(self.nodes)}"
        self.nodes.append(kind(name=name, inputs=(x,), output=f"{name}.y", **fields))
        source = self.values[x]
        self.values[f"{name}.y"] = ir.Value(f"{name}.y", shape, source.scale, source.zero_point)
        return f"{name}.y"

    def concat(self, *inputs, tables=False):
        name = f"concat{len(self.nodes)}"
        made = tuple(self.rng.integers(-128, 128, 256).astype(np.int8) if tables else None for _ in inputs)
        self.nodes.append(ir.Concat(name=name, inputs=inputs, output=f"{name}.y", tables=made))
        channels = sum(self.values[x].shape[0] for x in inputs)
        return self._value(f"{name}.y", (channels, *self.values[inputs[0]].shape[1:]))

    def stack(self, *inputs):
        """Rows of values one after the other."""
        name, (channels, _, width) = f"stack{len(self.nodes)}", self.values[inputs[0]].shape
        self.nodes.append(ir.Stack(name=name, inputs=inputs, output=f"{name}.y", axis=1, tables=(None,) * len(inputs)))
        return self._value(f"{name}.y", (channels, sum(self.values[x].shape[1] for x in inputs), width))

    def slice(self, x, start, stop):
        return self._shuffled(ir.Slice, x, (stop - start, *self.values[x].shape[1:]), start=start, stop=stop)

    def shuffle(self, x):
        shape = self.values[x].shape
        return self._shuffled(ir.Shuffle, x, shape, order=self.rng.permutation(shape[0]))

    def pad(self, x, pads, value):
        c, h, w = self.values[x].shape
        return self._shuffled(ir.Pad, x, (c, h + pads[0] + pads[2], w + pads[1] + pads[3]), pads=pads, value=value)

    def resize(self, x, factor):
        c, h, w = self.values[x].shape
        rows, cols = np.arange(h).repeat(factor), np.arange(w).repeat(factor)
        return self._shuffled(ir.Resize, x, (c, h * factor, w * factor), rows=rows, cols=cols)

    def interpolate(self, x, factor):
        """Pixels between those of ``x``, from each to the one behind it; the last row and column give none."""
        c, h, w = self.values[x].shape
        name = f"interpolate{len(self.nodes)}"
        phases = tuple((0, (factor - p, p)[: 1 + (p > 0)]) for p in range(factor))
        self.nodes.append(
            ir.Interpolate(
                name=name, inputs=(x,), output=f"{name}.y", rows=phases, cols=phases, scale=0.7, **self._clip()
            )
        )
        return self._value(f"{name}.y", (c, (h - 1) * factor, (w - 1) * factor))

    def pick(self, x, rows, cols):
        """Rows and columns by number."""
        rows, cols = np.asarray(rows), np.asarray(cols)
        shape = (self.values[x].shape[0], len(rows), len(cols))
        return self._shuffled(ir.Resize, x, shape, rows=rows, cols=cols)

    def depth_to_space(self, x, block, mode):
        c, h, w = self.values[x].shape
        return self._shuffled(ir.DepthToSpace, x, (c // block**2, h * block, w * block), block=block, mode=mode)

    def space_to_depth(self, x, block):
        c, h, w = self.values[x].shape
        return self._shuffled(ir.SpaceToDepth, x, (c * block**2, h // block, w // block), block=block)

    def graph(self, *outputs):
        return ir.Graph("random", self.values, self.nodes, "image", list(outputs), b"")

    def image(self):
        """One random int8 image with corner values."""
        image = self.rng.integers(-128, 128, self.values["image"].shape).astype(np.int8)
        image.reshape(-1)[:2] = -128, 127
        return image


def random_graph(rng, *, size=10, depth=3, channels=24):
    """A small random network and an image for it."""
    rows, cols = (int(n) for n in rng.integers(3, size + 1, 2))
    net = Builder(rng, (int(rng.integers(1, channels)), rows, cols))
    x = "image"
    for _ in range(int(rng.integers(1, depth + 1))):
        c, h, w = net.values[x].shape
        kind = rng.choice(["conv", "conv", "conv", "max", "average", "add", "mul", "table", "grouped"])
        kernel = tuple(int(min(k, n)) for k, n in zip(rng.integers(1, 4, 2), (h, w), strict=True))
        pads = tuple(int(rng.integers(0, k)) for k in (*kernel, *kernel))
        strides = tuple(int(s) for s in rng.integers(1, 3, 2))
        if kind == "conv":
            dilations = tuple(
                int(d) if (k - 1) * d < n else 1 for d, k, n in zip(rng.integers(1, 3, 2), kernel, (h, w), strict=True)
            )
            x = net.conv(
                x, int(rng.integers(1, channels)), kernel, strides=strides, pads=pads, dilations=dilations,
                table=bool(rng.integers(0, 4) == 0),
            )  # fmt: skip
        elif kind == "grouped":
            x = net.conv(x, c * int(rng.integers(1, 3)), kernel, strides=strides, pads=pads, groups=c)
        elif kind in ("max", "average"):
            include = bool(rng.integers(0, 2))
            x = net.pool(x, str(kind), kernel, strides=strides, pads=pads, count_include_pad=include)
        elif kind == "table":
            x = net.table(x)
        else:
            other = net.conv(x, c, (1, 1))
            x = net.add(x, other) if kind == "add" else net.mul(other, x)
    return net.graph(x), net.image()


def random_branches(rng, *, ops=12, channels=24):
    """A random network with branches: convolutions, poolings, additions, concatenations; and an image for it."""
    rows, cols = (int(n) for n in rng.integers(5, 14, 2))
    net = Builder(rng, (int(rng.integers(1, channels)), rows, cols))
    values = ["image"]
    for _ in range(ops):
        x = values[int(rng.integers(max(0, len(values) - 4), len(values)))]
        c, h, w = net.values[x].shape
        same = [name for name in values if name != x and net.values[name].shape[1:] == (h, w)]
        kind = rng.choice(["conv", "conv", "conv", "small", "pool", "shrink", "add", "concat", "concat"])
        if kind in ("concat", "add") and not same:
            kind = "conv"
        if kind == "conv":
            k = int(rng.choice([1, 1, 3, 5]))
            y = net.conv(x, int(rng.integers(1, channels)), (k, k), pads=(k // 2,) * 4)
        elif kind == "small":
            y = net.conv(
                net.conv(x, int(rng.integers(1, 5)), (1, 1)), int(rng.integers(4, channels)), (3, 3), pads=(1,) * 4
            )
        elif kind == "pool":
            y = net.pool(x, str(rng.choice(["max", "max", "average"])), (3, 3), pads=(1, 1, 1, 1))
        elif kind == "shrink":
            if min(h, w) < 5:
                continue
            y = (
                net.pool(x, "max", (3, 3), strides=(2, 2))
                if rng.integers(0, 2)
                else net.conv(x, c, (3, 3), strides=(2, 2))
            )
        elif kind == "add":
            y = net.add(x, net.conv(str(rng.choice(same)), c, (1, 1)))
        else:
            y = net.concat(x, *rng.choice(same, size=min(len(same), int(rng.integers(1, 4))), replace=False).tolist())
        values.append(y)
    unused = [name for name in values[1:] if name not in {i for node in net.nodes for i in node.inputs}]
    x = values[-1]
    for name in unused:
        if name != x and net.values[name].shape == net.values[x].shape:
            x = net.add(x, name)
    return net.graph(x), net.image()


def random_chain(rng):
    """Convolutions one behind the other, of few channels on images of any size, and poolings; and an image for it."""
    rows, cols = (int(n) for n in rng.integers(2, 20, 2))
    net = Builder(rng, (int(rng.integers(1, 6)), rows, cols))
    x = "image"
    for _ in range(int(rng.integers(2, 6))):
        c, h, w = net.values[x].shape
        kernel = tuple(int(rng.integers(1, min(6, size + 4) + 1)) for size in (h, w))
        pads, strides = tuple(int(rng.integers(0, k)) for k in (*kernel, *kernel)), (1, 1)
        if h + pads[0] + pads[2] < kernel[0] or w + pads[1] + pads[3] < kernel[1] or rng.integers(0, 3) == 0:
            kernel, pads = (1, 1), (0, 0, 0, 0)
        else:
            strides = tuple(int(s) for s in rng.integers(1, 3, 2))
        groups = c if rng.integers(0, 3) == 0 else 1
        x = net.conv(
            x, c if groups > 1 else int(rng.integers(1, 20)), kernel, strides=strides, pads=pads, groups=groups
        )
        if rng.integers(0, 5) == 0:
            kernel = tuple(int(rng.integers(1, min(size, 5) + 1)) for size in net.values[x].shape[1:])
            x = net.pool(x, "max", kernel, strides=tuple(int(s) for s in rng.integers(1, 4, 2)))
    net.nodes[:] = [dataclasses.replace(n, low=-128, high=127) if isinstance(n, ir.Conv) else n for n in net.nodes]
    return net.graph(x), net.image()


def wide_and_narrow(rng, pairs, *, channels=512, host=False):
    """Many output channels on few pixels: parameters are most of what a board holds. ``host``: it works in between."""
    net = Builder(rng, (8, 3, 3))
    x = "image"
    for number in range(pairs):
        y = net.conv(net.conv(x, channels, (1, 1)), 8, (1, 1), table=number % 3 == 1)
        x = net.table(net.add(x, net.host(y) if host and number == pairs // 2 else y))
    return net.graph(x), net.image()


def straddling_groups(rng):
    """Groups of six channels, where words hold eight: written by a convolution, an addition, a pooling and the host."""
    net = Builder(rng, (8, 10, 10))
    x = net.host(net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1)))
    x = net.conv(net.pool(x, "max", (3, 3), strides=(2, 2)), 12, (3, 3), pads=(1, 1, 1, 1), groups=2)
    x = net.add(x, net.conv(x, 12, (1, 1)))
    return net.graph(net.conv(x, 16, (3, 3), groups=2)), net.image()


def rising(rng):
    """A table that keeps the order of numbers, by pattern: the negative half comes last."""
    return np.roll(np.sort(rng.integers(-128, 128, 256)).astype(np.int8), 128)


def few_channels(rng, channels=(2, 4), *, size=(14, 17)):
    """Convolutions of few channels in front of poolings of 2x2, every second one with a table that rises."""
    net = Builder(rng, (3, *size))
    x = "image"
    for number, count in enumerate(channels):
        x = net.conv(x, count, (3, 3), pads=(1, 1, 1, 1))
        net.nodes[-1] = replace(net.nodes[-1], table=rising(rng) if number % 2 else None)
        x = net.pool(x, "max", (2, 2), strides=(2, 2))
    return net.graph(net.conv(x, 9, (3, 3), pads=(1, 1, 1, 1))), net.image()
