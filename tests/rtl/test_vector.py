"""VECTOR without simulation: what it refuses, and corners of its numpy twin."""

import numpy as np
import pytest

from superlip.rtl.config import NodeConfig
from superlip.rtl.isa import VectorOp
from superlip.rtl.ports import UnitError
from superlip.rtl.vector import Vector
from superlip.rtl.vector_model import VectorState
from superlip.rtl.vector_output import ResultQueue

CONFIG = NodeConfig()
ONE = {"groups": 1, "rows": 1, "cols": 1, "kh": 1, "kw": 1, "height": 1, "width": 1, "low": -128, "high": 127,
       "lane_last": 7, "dest": 9}  # fmt: skip


def run(act, state=None, **fields):
    acc = np.zeros((CONFIG.acc_words, CONFIG.tm), np.int32)
    return Vector.model(CONFIG, act, acc, state or VectorState(), ONE | fields)


def test_unequal_tiles():
    with pytest.raises(ValueError, match="tm=8, tn=16"):
        Vector(NodeConfig(tm=8, tn=16))


def test_queue_depth():
    with pytest.raises(ValueError, match="depth must be a power of two from 2 to 65,536, not 12"):
        ResultQueue(64, 12)


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
