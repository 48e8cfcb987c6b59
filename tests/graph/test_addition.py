"""Fixed-point factors of additions, against ONNX Runtime's own addition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import model, node

from superlip.element import INT8
from superlip.graph.onnx.importer.addition import add_factors, float_addition
from superlip.graph.onnx.importer.states import Params, Unsupported
from superlip.graph.session import open_session
from superlip.ops.arithmetic import round_half_even_shift

PARAMS = st.builds(Params, st.floats(2.0**-6, 0.25, width=32).map(np.float32), st.integers(*INT8.bounds))
NUMBERS = np.arange(INT8.low, INT8.high + 1).astype(INT8.dtype)


@pytest.mark.parametrize("is_unsigned", [True, False])
def test_float_addition_is_that_of_onnx_runtime(is_unsigned):
    first, second, result = (Params(np.float32(s), z, is_unsigned) for s, z in ((0.031, -5), (0.077, 40), (0.09, 3)))
    names, constants = [], {}
    for name, p in (("a", first), ("b", second), ("y", result)):
        names += [name, f"{name}_s", f"{name}_z"]
        constants |= {f"{name}_s": p.scale, f"{name}_z": np.array(p.zero_point + p.offset, INT8.own_type(is_unsigned))}
    kind = INT8.own_type(is_unsigned).type
    built = model(
        [node("QLinearAdd", [*names[:6], *names[7:]], ["y"])], {n: (kind, [256, 256]) for n in "ab"}, ["y"], constants
    )
    own = INT8.to_own(NUMBERS, is_unsigned)
    feeds = {"a": np.repeat(own[:, None], 256, 1), "b": np.repeat(own[None], 256, 0)}
    (theirs,) = open_session(built.SerializeToString()).run(None, feeds)
    limits = np.iinfo(kind)
    ours = np.clip(float_addition(first, second, result), limits.min, limits.max)
    assert (ours != theirs).sum() <= 8  # a CPU without fused multiply-add rounds a few of 65536 otherwise


@settings(max_examples=10, deadline=None)
@given(PARAMS, PARAMS, st.integers(*INT8.bounds))
def test_the_factors_are_the_scales_and_give_the_sums(first, second, zero):
    result = Params(np.float32(first.scale + second.scale), zero)
    mult_a, mult_b, shift, left = add_factors(first, second, result)
    assert max(mult_a, mult_b) < 1 << 26
    for mult, params in ((mult_a, first), (mult_b, second)):
        assert abs(mult / 2**shift - float(params.scale) / float(result.scale)) < 1e-5
    a, b = (NUMBERS.astype(np.int64) - p.zero_point for p in (first, second))
    ours = INT8.saturate(round_half_even_shift(a[:, None] * mult_a + b[None] * mult_b, shift) + zero)
    assert (ours != INT8.saturate(float_addition(first, second, result))).sum() == left


def test_operands_of_both_kinds():
    """A signed and an unsigned operand of one addition: the fit sees the right numbers of each."""
    first, result = Params(np.float32(0.0313), -5), Params(np.float32(0.1084), 3)
    second = Params(np.float32(0.0771), 40, True)
    mult_a, mult_b, shift, left = add_factors(first, second, result)
    assert left == 0
    assert abs(mult_a / 2**shift - 0.0313 / 0.1084) < 1e-6 and abs(mult_b / 2**shift - 0.0771 / 0.1084) < 1e-6


def test_scales_that_no_factor_holds():
    with pytest.raises(Unsupported, match="times the result's"):
        add_factors(Params(np.float32(1), 0), Params(np.float32(1), 0), Params(np.float32(1e-9), 0))
