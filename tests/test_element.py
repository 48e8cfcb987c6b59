"""The element types against numpy's own integers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superlip.element import INT8, INT16, ElementType

TYPES = pytest.mark.parametrize("element", ElementType)


@TYPES
def test_range_and_width_are_those_of_the_signed_type(element):
    info = np.iinfo(element.dtype)
    assert element.bounds == (element.low, element.high) == (info.min, info.max)
    assert element.bits == info.bits == 8 * element.bytes
    assert element.unsigned == np.dtype(f"uint{element.bits}") and element.types == (element.dtype, element.unsigned)


def test_its_name_is_what_files_and_numpy_call_it():
    assert ElementType("int8") is INT8 and ElementType("int16") is INT16
    assert f"{INT8} {INT16!r}" == "int8 'int16'"


@TYPES
@given(st.data())
def test_saturating_finds_the_nearest_element(element, data):
    value = data.draw(st.integers(4 * element.low, 4 * element.high))
    nearest = element.low if value < element.low else element.high if value > element.high else value
    assert element.clip(value) == nearest
    assert (element.clip(-np.inf), element.clip(np.inf)) == element.bounds
    for given_as in (value, np.int64(value), np.float32(value), [value]):
        result = element.saturate(given_as)
        assert result.dtype == element.dtype and (result == nearest).all()


@TYPES
def test_unsigned_numbers_are_the_elements_moved_by_the_offset(element):
    """All of them, in both directions."""
    unsigned = np.arange(element.patterns, dtype=element.unsigned)
    elements = element.from_own(unsigned)
    assert elements.dtype == element.dtype
    np.testing.assert_array_equal(elements.astype(int) + element.own_offset(True), unsigned)
    np.testing.assert_array_equal(element.to_own(elements, True), unsigned)
    assert element.to_own(elements, True).dtype == element.own_type(True) == element.unsigned


@TYPES
def test_signed_numbers_are_the_elements(element):
    elements = element.by_pattern()
    assert element.from_own(elements) is elements and element.to_own(elements, False) is elements
    assert element.own_type(False) == element.dtype and element.own_offset(False) == 0


@TYPES
def test_by_pattern_is_the_table_that_changes_nothing(element):
    elements = np.arange(element.low, element.high + 1).astype(element.dtype)
    np.testing.assert_array_equal(element.look_up(element.by_pattern(), elements), elements)
