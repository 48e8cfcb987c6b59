"""The numpy twin of the VECTOR unit."""

from dataclasses import dataclass, field

import numpy as np

from .isa import (
    DEPTHWISE_COLUMNS,
    DEPTHWISE_KERNEL,
    DEPTHWISE_WORDS,
    MAX_LANE_MAX,
    PARAM_WORDS,
    VectorOp,
    table_words,
)
from .ports import UnitError
from .requantize import Requantize

__all__ = ["Fields", "Places", "VectorState", "model", "operand_error"]

_BINARY = (VectorOp.ADD, VectorOp.MUL)


@dataclass
class VectorState:
    """What VECTOR keeps from instruction to instruction.

    ``params``: ndarray int32, shape (tn, 2); ``weights``: elements, shape (DEPTHWISE_WORDS, tn); ``table``: elements,
    one a bit pattern; None before the first load.
    """

    params: np.ndarray | None = field(default=None)
    weights: np.ndarray | None = field(default=None)
    table: np.ndarray | None = field(default=None)


def model(config, act_memory, acc_memory, state, instruction):
    """Execute one VECTOR instruction.

    All reads see the memory as it was at the start.

    Parameters
    ----------
    config : NodeConfig
    act_memory : ndarray of elements, shape (act_words, tn)
        Changed in place.
    acc_memory : ndarray int32, shape (acc_words, tm)
    state : VectorState
        Changed in place.
    instruction : dict
        Body fields, as ``isa.decode`` gives them; those left out are 0.

    Returns
    -------
    (UnitError, int)
        NONE and 0, or the error and its syndrome. Results before the error have been written.

    Raises
    ------
    ValueError
        If an operation needs parameters or a table and none was ever loaded.
    """
    body = Fields(instruction)
    error = operand_error(config, body)
    if error is not None:
        return UnitError.OPERAND, error
    error = _load(config, act_memory, state, body)
    if error is not None:
        return UnitError.ADDRESS, error
    places = Places(config, body)
    error, count = places.first_error()
    values = _values(act_memory, acc_memory, state, body, places, count, config.element)
    if body.use_table:
        values = config.element.look_up(_need(state.table, "table"), values)
    if body.lane_max:
        groups = values.reshape(count, 1 << body.lane_max, config.tn >> body.lane_max)
        values = np.tile(groups.max(axis=1), 1 << body.lane_max)
    lanes = slice(body.lane_first, body.lane_last + 1)
    act_memory[places.dest[:count], lanes] = values[:, lanes]  # in order: the last one counts
    if body.zero_above:
        act_memory[places.dest[:count], lanes.stop :] = 0
    return (UnitError.NONE, 0) if error is None else (UnitError.ADDRESS, error)


def operand_error(config, body):
    """The value that makes no sense, or None."""
    if body.op > (VectorOp.DEPTHWISE if config.depthwise_rows else VectorOp.MUL):
        return body.op
    if 0 in (body.groups, body.rows, body.cols, body.kh, body.kw):
        return 0
    if body.lane_last >= config.tm or body.lane_last < body.lane_first:
        return body.lane_last
    if body.lane_max > MAX_LANE_MAX:
        return body.lane_max
    if body.op in _BINARY and body.kh != 1:
        return body.kh
    if body.op in _BINARY and body.kw != 1:
        return body.kw
    return _depthwise_error(config, body) if body.op == VectorOp.DEPTHWISE else None


def _depthwise_error(config, body):
    for name in ("kh", "kw"):
        if getattr(body, name) != DEPTHWISE_KERNEL:
            return getattr(body, name)
    for name in ("stride_y", "stride_x"):
        if getattr(body, name) not in (1, 2):
            return getattr(body, name)
    rows, cols = _walked(body)
    if rows > config.depthwise_rows:
        return body.rows
    return body.cols if cols > DEPTHWISE_COLUMNS else None


def _walked(body):
    """Rows and columns of the source that DEPTHWISE reads for each group."""
    ends = ((body.rows - 1) * body.stride_y, (body.cols - 1) * body.stride_x)
    return tuple(end + DEPTHWISE_KERNEL for end in ends)


class Fields:
    """Fields of an instruction by name, those left out as 0."""

    def __init__(self, instruction):
        self.instruction = instruction

    def __getattr__(self, name):
        return self.instruction.get(name, 0)


class Places:
    """Addresses of an instruction, in its order: of DEPTHWISE, column by column.

    ``source``, ``present``: shape (results, window); ``source_b``, ``dest``: shape (results,).
    """

    def __init__(self, config, body):
        self.config, self.body = config, body
        g, r, c, ky, kx = np.ogrid[: body.groups, : body.rows, : body.cols, : body.kh, : body.kw]
        y, x = body.y0 + r * body.stride_y + ky, body.x0 + c * body.stride_x + kx
        source = body.source + g * body.plane + y * body.pitch + x
        inside = (y >= 0) & (y < body.height) & (x >= 0) & (x < body.width)
        results = body.groups * body.rows * body.cols
        order = (0, 2, 1, 3, 4) if body.op == VectorOp.DEPTHWISE else (0, 1, 2, 3, 4)
        self.source = source.transpose(order).reshape(results, -1)
        self.present = np.broadcast_to(inside, source.shape).transpose(order).reshape(results, -1)
        g, r, c = g[..., 0, 0], r[..., 0, 0], c[..., 0, 0]
        self.source_b = (body.source_b + g * body.plane_b + r * body.pitch_b + c).reshape(-1)
        dest = body.dest + g * body.dest_plane + r * body.dest_pitch + c * body.dest_step
        self.dest = dest.transpose(order[:3]).reshape(-1)

    def first_error(self):
        """(syndrome, results before it), or (None, all results)."""
        if self.body.op == VectorOp.DEPTHWISE:
            return self._first_error_of_walk()
        limit = self.config.acc_words if self.body.op == VectorOp.REQUANTIZE else self.config.act_words
        # In the order in which the unit meets them: source pixel, destination (with the first), second operand.
        bad_source = self.present & (self.source >= limit)
        bad = np.insert(bad_source, 1, self.dest >= self.config.act_words, axis=1)
        address = np.insert(self.source, 1, self.dest, axis=1)
        if self.body.op in _BINARY:
            bad = np.column_stack([bad, self.source_b >= self.config.act_words])
            address = np.column_stack([address, self.source_b])
        if not bad.any():
            return None, len(self.dest)
        first = int(np.argmax(bad))
        return int(address.flat[first]) & 0xFFFF_FFFF, first // bad.shape[1]

    def _first_error_of_walk(self):
        """The same, of DEPTHWISE, which goes through pixels rather than windows."""
        body, limit = self.body, self.config.act_words
        rows, cols = _walked(body)
        g, col, row = np.ogrid[: body.groups, :cols, :rows]
        y, x = body.y0 + row, body.x0 + col
        source = body.source + g * body.plane + y * body.pitch + x
        present = (y >= 0) & (y < body.height) & (x >= 0) & (x < body.width)
        # Results that end in rows, and columns, before this one; and whether one ends here.
        before = [
            np.maximum(at - (DEPTHWISE_KERNEL - 1) + stride - 1, 0) // stride
            for at, stride in ((row, body.stride_y), (col, body.stride_x))
        ]
        dest = body.dest + g * body.dest_plane + before[0] * body.dest_pitch + before[1] * body.dest_step
        bad_source, bad_dest = present & (source >= limit), np.broadcast_to(dest >= limit, source.shape)
        bad = (bad_source | bad_dest).reshape(-1)
        if not bad.any():
            return None, len(self.dest)
        first = int(np.argmax(bad))
        ends = [
            (at >= DEPTHWISE_KERNEL - 1) & ((at - (DEPTHWISE_KERNEL - 1)) % stride == 0)
            for at, stride in ((row, body.stride_y), (col, body.stride_x))
        ]
        done = np.broadcast_to(ends[0] & ends[1], source.shape).reshape(-1)[:first].sum()
        address = np.where(bad_source, source, dest).reshape(-1)[first]
        return int(address) & 0xFFFF_FFFF, int(done)


def _load(config, act_memory, state, body):
    """Parameters and table; the address that is outside, or None."""
    params_words = PARAM_WORDS if body.load_params else 0
    weight_words = DEPTHWISE_WORDS if body.load_params and body.op == VectorOp.DEPTHWISE else 0
    words = params_words + weight_words + (table_words(config.tn) if body.load_table else 0)
    if words and body.params + words > config.act_words:
        return max(body.params, config.act_words)
    block = act_memory[body.params : body.params + words].copy()
    if body.load_params:
        state.params = block[:params_words].reshape(-1).view("<i4").reshape(config.tn, 2)
    if weight_words:
        state.weights = block[params_words : params_words + weight_words]
    if body.load_table:
        state.table = block[params_words + weight_words :].reshape(-1)[: config.element.patterns]
    return None


def _need(value, what):
    if value is None:
        raise ValueError(f"the instruction uses the {what}, but none was loaded")
    return value


def _values(act_memory, acc_memory, state, body, places, count, element):
    """Results before the table, elements, shape (count, tn)."""
    present = places.present[:count, :, np.newaxis]
    memory = acc_memory if body.op == VectorOp.REQUANTIZE else act_memory
    pixels = memory[np.where(places.present, places.source, 0)[:count]].astype(np.int64)
    clip = body.low, body.high
    if body.op == VectorOp.MAX:
        largest = np.where(present, pixels, element.low).max(axis=1)
        return Requantize.model_exact(largest, 0, 0, *clip)
    first, second = _need(state.params, "parameters").astype(np.int64).T
    scale = second.astype(np.uint32).view(np.float32)
    if body.op == VectorOp.DEPTHWISE:
        pixels = np.where(present, pixels, body.zp_a)
        total = (pixels * _need(state.weights, "weights").astype(np.int64)).sum(axis=1)
        return Requantize.model((total + first).astype(np.int32), scale, body.zp_out, *clip)
    zp_a = 0 if body.op == VectorOp.REQUANTIZE else body.zp_a
    total = np.where(present, pixels - zp_a, 0)
    largest = np.where(present, pixels, -(1 << 31)).max(axis=1)
    total = largest if body.op == VectorOp.REQUANTIZE else total.sum(axis=1)
    if body.op in _BINARY:
        other = act_memory[places.source_b[:count]].astype(np.int64) - body.zp_b
        if body.op == VectorOp.ADD:
            return Requantize.model_exact(total * first + other * second, body.shift, body.zp_out, *clip)
        total = total * other
    return Requantize.model((total + first).astype(np.int32), scale, body.zp_out, *clip)
