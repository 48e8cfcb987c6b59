"""Parameters as words: eight bytes a lane, lanes in order."""

import numpy as np
import pytest

from superlip.ops.params import add_params, lane_params, table_block
from superlip.rtl.isa import PARAM_WORDS, table_words


@pytest.mark.parametrize("tn", [8, 16, 64])
def test_each_lane_has_its_eight_bytes(tn):
    bias, scale = np.arange(tn, dtype=np.int32) * -1000, np.linspace(0.1, 2, tn, dtype=np.float32)
    words = lane_params(bias, scale)
    assert words.shape == (PARAM_WORDS, tn)
    raw = words.tobytes()
    for lane in range(tn):
        assert raw[8 * lane : 8 * lane + 4] == int(bias[lane]).to_bytes(4, "little", signed=True)
        assert raw[8 * lane + 4 : 8 * lane + 8] == np.float32(scale[lane]).tobytes()


def test_factors_are_those_of_all_lanes():
    assert add_params(3, -5, 8).tobytes() == (b"\3\0\0\0" + (-5).to_bytes(4, "little", signed=True)) * 8


@pytest.mark.parametrize("tn", [8, 64, 512])
def test_a_table_fills_whole_words(tn):
    table = np.arange(256, dtype=np.uint8).view(np.int8)
    words = table_block(table, tn)
    assert words.shape == (table_words(tn), tn)
    assert words.ravel()[:256].tolist() == table.tolist() and not words.ravel()[256:].any()
