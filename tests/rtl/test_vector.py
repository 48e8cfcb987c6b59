"""VECTOR without simulation: what it refuses, and corners of its numpy twin."""

import numpy as np
import pytest

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import DEPTHWISE_WORDS, PARAM_WORDS, VectorOp
from superlip.rtl.ports import UnitError
from superlip.rtl.vector import Vector
from superlip.rtl.vector_model import VectorState
from superlip.rtl.vector_output import ResultQueue
from superlip.rtl.vector_window import WindowSums

CONFIG = NodeConfig()
ONE = {"groups": 1, "rows": 1, "cols": 1, "kh": 1, "kw": 1, "height": 1, "width": 1, "low": -128, "high": 127,
       "lane_last": 7, "dest": 9}  # fmt: skip


WITH_DEPTHWISE = NodeConfig(depthwise_rows=16)


def run(act, state=None, *, config=CONFIG, **fields):
    acc = np.zeros((CONFIG.acc_words, CONFIG.tm), np.int32)
    return Vector.model(config, act, acc, state or VectorState(), ONE | fields)


def test_unequal_tiles():
    with pytest.raises(ValueError, match="tm=8, tn=16"):
        Vector(NodeConfig(tm=8, tn=16))


def test_queue_depth():
    with pytest.raises(ValueError, match="depth must be a power of two from 2 to 65,536, not 12"):
        ResultQueue(64, 12)


def test_a_node_without_depthwise():
    with pytest.raises(ValueError, match="depthwise_rows must be a power of two, not 0"):
        WindowSums(CONFIG)
    act = np.zeros((CONFIG.act_words, CONFIG.tn), np.int8)
    window = {"op": VectorOp.DEPTHWISE, "kh": 3, "kw": 3, "stride_y": 1, "stride_x": 1}
    assert run(act, **window) == (UnitError.OPERAND, VectorOp.DEPTHWISE)
    with pytest.raises(ValueError, match="weights, but none was loaded"):
        run(act, VectorState(params=np.zeros((8, 2), np.int32)), config=WITH_DEPTHWISE, **window)


def test_the_largest_window():
    """Nine products of -128 and -128, padding included, scaled to 9 * 2**14 * 2**-11."""
    act = np.full((CONFIG.act_words, CONFIG.tn), -128, np.int8)
    scale = np.full((CONFIG.tn, 2), [0, np.float32(2**-11).view(np.int32)], np.int32)
    act[20 : 20 + PARAM_WORDS] = scale.view(np.int8).reshape(PARAM_WORDS, -1)
    assert DEPTHWISE_WORDS == 9
    fields = {"kh": 3, "kw": 3, "stride_y": 2, "stride_x": 2, "zp_a": -128, "load_params": 1, "params": 20}
    assert run(act, config=WITH_DEPTHWISE, op=VectorOp.DEPTHWISE, **fields) == (UnitError.NONE, 0)
    assert (act[9] == 72).all()


def test_window_of_padding_alone():
    act = np.full((CONFIG.act_words, CONFIG.tn), 5, np.int8)
    assert run(act, op=VectorOp.MAX, y0=-1) == (UnitError.NONE, 0)
    assert (act[9] == -128).all() and (np.delete(act, 9, axis=0) == 5).all()


def test_lanes_outside_are_kept():
    act = np.zeros((CONFIG.act_words, CONFIG.tn), np.int8)
    act[0] = 1
    run(act, op=VectorOp.MAX, lane_first=2, lane_last=4)
    assert act[9].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]


def test_addition_is_exact():
    """The largest sum of products, and a tie."""
    act = np.zeros((CONFIG.act_words, CONFIG.tn), np.int8)
    act[0], act[1] = 127, 127
    params = np.tile(np.array([2**26, 2**26], np.int32), (CONFIG.tn, 1))
    add = {"op": VectorOp.ADD, "source_b": 1, "zp_a": -128, "zp_b": -128}
    run(act, VectorState(params=params), shift=29, **add)
    assert (act[9] == 64).all()  # 255 * 2**27 / 2**29 = 63.75
    run(act, VectorState(params=params), shift=28, zp_out=-100, **add)
    assert (act[9] == 28).all()  # 127.5 to even, less 100


def test_parameters_never_loaded():
    act = np.zeros((CONFIG.act_words, CONFIG.tn), np.int8)
    with pytest.raises(ValueError, match="parameters, but none was loaded"):
        run(act, op=VectorOp.SUM)


@pytest.mark.parametrize("lane_max, largest", [(1, [9, -3, 7, 8] * 2), (2, [9, 8] * 4)])
def test_lane_groups_get_the_largest_of_them(lane_max, largest):
    """Behind the table; only the lanes that are named are written, and zeros above."""
    act = np.zeros((CONFIG.act_words, CONFIG.tn), np.int8)
    act[0] = [1, -4, 7, -128, 9, -3, -9, 8]
    assert run(act, op=VectorOp.MAX, lane_max=lane_max) == (UnitError.NONE, 0)
    assert act[9].tolist() == largest
    run(act, op=VectorOp.MAX, lane_max=lane_max, dest=10, lane_last=1, zero_above=1)
    assert act[10].tolist() == [*largest[:2], *[0] * 6]
    table = -1 - np.arange(256).astype(np.uint8).view(np.int8)
    run(act, VectorState(table=table), op=VectorOp.MAX, lane_max=1, use_table=1)
    assert act[9].tolist() == [-2, 3, 8, 127] * 2


def test_more_lane_groups_than_there_are():
    act = np.zeros((CONFIG.act_words, CONFIG.tn), np.int8)
    assert run(act, op=VectorOp.MAX, lane_max=3) == (UnitError.OPERAND, 3)
    assert run(act, op=VectorOp.MAX, lane_max=3, lane_last=8) == (UnitError.OPERAND, 8)
    assert run(act, op=VectorOp.ADD, lane_max=3, kh=2) == (UnitError.OPERAND, 3)
