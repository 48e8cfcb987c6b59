"""The MATMUL model against the plain definition of a convolution, and the accumulators' corners."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from superlip.rtl.accumulators import Accumulators
from superlip.rtl.config import NodeConfig
from superlip.rtl.matmul import model
from superlip.rtl.ports import READ_LATENCY

TM = TN = 8


def convolution(ifm, weights, *, pad_y, pad_x, stride, dilation, rows, cols, zero_point):
    """By definition: ifm (n, height, width), weights (m, n, kh, kw) to (m, rows, cols)."""
    m, n, kh, kw = weights.shape
    result = np.zeros((m, rows, cols), np.int64)
    for r, c, ky, kx in np.ndindex(rows, cols, kh, kw):
        y, x = r * stride - pad_y + ky * dilation, c * stride - pad_x + kx * dilation
        inside = 0 <= y < ifm.shape[1] and 0 <= x < ifm.shape[2]
        pixel = ifm[:, y, x] if inside else np.full(n, zero_point)
        result[:, r, c] += weights[:, :, ky, kx].astype(np.int64) @ pixel
    return result


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_model_is_a_convolution(data):
    def integer(low, high):
        return data.draw(st.integers(low, high))

    random = np.random.default_rng(integer(0, 2**32))
    height, width, kh, kw, n_tiles = (integer(1, limit) for limit in (6, 6, 3, 3, 3))
    rows, cols, stride, dilation = (integer(1, limit) for limit in (5, 5, 3, 2))
    pad_y, pad_x, zero_point = integer(-1, 3), integer(-1, 3), integer(-128, 127)
    ifm = random.integers(-128, 128, (n_tiles * TN, height, width), np.int8)
    weights = random.integers(-128, 128, (TM, n_tiles * TN, kh, kw), np.int8)
    expected = convolution(
        ifm, weights, pad_y=pad_y, pad_x=pad_x, stride=stride, dilation=dilation, rows=rows, cols=cols,
        zero_point=zero_point,
    )  # fmt: skip

    act = ifm.reshape(n_tiles, TN, height, width).transpose(0, 2, 3, 1).reshape(-1, TN)
    sets = weights.reshape(TM, n_tiles, TN, kh, kw).transpose(1, 3, 4, 0, 2).reshape(-1, TM, TN)
    before = random.integers(-(2**31), 2**31, (64, TM)).astype(np.int32)
    fields = {
        "act": 0, "plane": height * width, "pitch": width, "height": height, "width": width, "y0": -pad_y, "x0": -pad_x,
        "stride_y": stride, "stride_x": stride, "kh": kh, "kw": kw, "dilation_y": dilation, "dilation_x": dilation,
        "n_tiles": n_tiles, "rows": rows, "cols": cols, "acc": 9, "zero_point": zero_point,
    }  # fmt: skip
    got = model(fields, act, sets, before)
    flat = expected.reshape(TM, -1).T
    assert (got[9 : 9 + rows * cols] == flat).all()
    assert (got[:9] == before[:9]).all()
    assert (got[9 + rows * cols :] == before[9 + rows * cols :]).all()
    added = model(fields | {"accumulate": 1}, act, sets, before)
    assert (added[9 : 9 + rows * cols] == (before[9 : 9 + rows * cols] + flat).astype(np.int32)).all()


def test_model_refuses_accumulators_outside():
    with pytest.raises(IndexError, match="accumulators 60 to 67 of 64"):
        model({"acc": 60, "rows": 2, "cols": 4, "stride_y": 1, "stride_x": 1}, None, None, np.zeros((64, TM), np.int32))


def run_accumulators(updates, reads, *, latency=5):
    """Apply (cycle, address, overwrite, psum) updates; return the words at ``reads``."""
    dut = Accumulators(NodeConfig(acc_words=16), latency=latency)
    words = []

    async def bench(ctx):
        at = {cycle: (address, overwrite, psum) for cycle, address, overwrite, psum in updates}
        arriving = {cycle + latency: psum for cycle, _, _, psum in updates}
        for cycle in range(max(at) + latency + 2):
            address, overwrite, _ = at.get(cycle, (0, 0, 0))
            ctx.set(dut.update, {"valid": cycle in at, "address": address, "overwrite": overwrite})
            ctx.set(dut.psum, [arriving.get(cycle, 12345)] * TM)
            ctx.set(dut.psum_valid, cycle in arriving)
            await ctx.tick()
        ctx.set(dut.update, {})
        for address in reads:
            ctx.set(dut.read.addr, address)
            ctx.set(dut.read.valid, 1)
            assert ctx.get(dut.read.ready)
            await ctx.tick()
            ctx.set(dut.read.valid, 0)
            for _ in range(READ_LATENCY - 1):
                await ctx.tick()
            assert ctx.get(dut.read.data_valid)
            word = ctx.get(dut.read.data)
            words.append({np.uint32(word >> 32 * lane & 0xFFFFFFFF).astype(np.int32).item() for lane in range(TM)})

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return words


def test_accumulators_wrap():
    top = 2**31 - 1
    step = Accumulators.UPDATE_CYCLES
    updates = [(0, 3, 1, top), (step, 3, 0, 2), (2 * step, 12, 1, -top), (3 * step, 12, 0, -5)]
    assert run_accumulators(updates, [3, 12]) == [{-top}, {top - 3}]


@pytest.mark.parametrize("address", [2, 11])
def test_update_cycles_is_the_shortest_distance(address):
    def total(distance):
        return run_accumulators([(0, address, 1, 100), (distance, address, 0, 1)], [address])[0]

    run = [total(distance) for distance in range(1, Accumulators.UPDATE_CYCLES + 1)]
    assert run[-1] == {101}
    assert run[-2] != {101}
