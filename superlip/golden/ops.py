"""The arithmetic of every node of the quantized graph: one function a node type, batches of int8 images."""

import numpy as np

from superlip.graph import ir

from .conv import convolve, requantize
from .host import run_host

__all__ = ["apply", "round_half_even_shift"]


def apply(node, inputs, values):
    """Compute one node.

    Parameters
    ----------
    node : ir.Node
    inputs : list of ndarray int8, shape (B, C, H, W)
        In the order of ``node.inputs``.
    values : dict of str to ir.Value
        Of the graph: scales and zero points.

    Returns
    -------
    ndarray int8, shape (B, C, H, W); of another type where a Host node's output is a host value
    """
    function = _FUNCTIONS.get(type(node))
    if function is None:
        raise TypeError(f"the golden has no arithmetic for {type(node).__name__} ({node.name})")
    return function(node, inputs, [values[name] for name in node.inputs], values[node.output])


def round_half_even_shift(value, shift):
    """value / 2**shift rounded to the nearest integer, ties to even; exact on int64."""
    if shift == 0:
        return value
    half = np.int64(1) << np.int64(shift - 1)
    floor = value >> np.int64(shift)
    rest = value - (floor << np.int64(shift))
    return floor + ((rest > half) | ((rest == half) & (floor & 1 == 1)))


def _lookup(table, x):
    return table[x.view(np.uint8)]


def _conv(node, inputs, sources, result):
    acc = convolve(
        inputs[0],
        node.weights,
        node.bias,
        strides=node.strides,
        pads=node.pads,
        dilations=node.dilations,
        groups=node.groups,
        pad_value=sources[0].zero_point,
    )
    zero_point = result.zero_point if node.table is None else node.table_zero_point
    y = requantize(acc, node.scale.reshape(1, -1, 1, 1), zero_point, node.low, node.high)
    return y if node.table is None else _lookup(node.table, y)


def _windows(x, node, fill):
    """Yield, for each kernel position, that pixel of every window; padding pixels hold ``fill``."""
    top, left, bottom, right = node.pads
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    (kh, kw), (sy, sx) = node.kernel, node.strides
    rows, cols = (x.shape[2] - kh) // sy + 1, (x.shape[3] - kw) // sx + 1
    for y in range(kh):
        for z in range(kw):
            yield x[:, :, y : y + sy * (rows - 1) + 1 : sy, z : z + sx * (cols - 1) + 1 : sx]


def _pool(node, inputs, sources, result):
    x = inputs[0]
    if node.kind == "max":
        best = None
        for pixel in _windows(x, node, -128):
            best = pixel.copy() if best is None else np.maximum(best, pixel, out=best)
        return np.clip(best, node.low, node.high).astype(np.int8)
    total = sum(_windows(x.astype(np.int32) - sources[0].zero_point, node, 0))
    if node.count_include_pad:
        count = np.full((1, 1, *total.shape[2:]), node.kernel[0] * node.kernel[1])
    else:
        count = sum(_windows(np.ones((1, 1, *x.shape[2:]), np.int32), node, 0))
    return requantize(total, node.scale[count], result.zero_point, node.low, node.high)


def _add(node, inputs, sources, result):
    a, b = (x.astype(np.int64) - s.zero_point for x, s in zip(inputs, sources, strict=True))
    total = round_half_even_shift(a * node.mult_a + b * node.mult_b, node.shift) + result.zero_point
    return np.clip(total, node.low, node.high).astype(np.int8)


def _mul(node, inputs, sources, result):
    a, b = (x.astype(np.int32) - s.zero_point for x, s in zip(inputs, sources, strict=True))
    return requantize(a * b, node.scale, result.zero_point, node.low, node.high)


def _table(node, inputs, sources, result):
    return _lookup(node.table, inputs[0])


def _concat(node, inputs, sources, result):
    parts = [x if t is None else _lookup(t, x) for x, t in zip(inputs, node.tables, strict=True)]
    return np.concatenate(parts, axis=1)


def _slice(node, inputs, sources, result):
    return inputs[0][:, node.start : node.stop]


def _reshape(node, inputs, sources, result):
    return inputs[0].reshape(-1, *result.shape)


def _pad(node, inputs, sources, result):
    top, left, bottom, right = node.pads
    return np.pad(inputs[0], ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=node.value)


def _resize(node, inputs, sources, result):
    return inputs[0][:, :, node.rows][:, :, :, node.cols]


def _depth_to_space(node, inputs, sources, result):
    x, b = inputs[0], node.block
    batch, c, h, w = x.shape
    if node.mode == "DCR":
        x = x.reshape(batch, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(batch, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(batch, *result.shape)


def _space_to_depth(node, inputs, sources, result):
    x, b = inputs[0], node.block
    batch, c, h, w = x.shape
    x = x.reshape(batch, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    return x.reshape(batch, *result.shape)


def _shuffle(node, inputs, sources, result):
    return inputs[0][:, node.order]


def _host(node, inputs, sources, result):
    return run_host(node, inputs)


_FUNCTIONS = {
    ir.Conv: _conv,
    ir.Pool: _pool,
    ir.Add: _add,
    ir.Mul: _mul,
    ir.Table: _table,
    ir.Concat: _concat,
    ir.Slice: _slice,
    ir.Reshape: _reshape,
    ir.Pad: _pad,
    ir.Resize: _resize,
    ir.DepthToSpace: _depth_to_space,
    ir.SpaceToDepth: _space_to_depth,
    ir.Shuffle: _shuffle,
    ir.Host: _host,
}
