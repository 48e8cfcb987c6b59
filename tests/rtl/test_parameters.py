"""Components say what their parameters must be, before anything is built of them."""

import warnings

import pytest

from superlip.rtl.link.buffer import FrameBuffer
from superlip.rtl.memory import BlockFifo
from superlip.rtl.pe_array import PEArray
from superlip.rtl.requantize import Requantize


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Requantize(True), "lanes must be a whole number from 1 to 128, not True"),
        (lambda: Requantize(129), "lanes must be a whole number from 1 to 128, not 129"),
        (lambda: PEArray(4096, 4096), "tn must be a power of two from 2 to 128, not 4096"),
        (lambda: PEArray(130, 8), "tm must be a whole number from 1 to 128, not 130"),
        (lambda: PEArray(3, 8), "tm must be a multiple of 2"),
        (lambda: PEArray(8, 8.0), "tn must be a power of two from 2 to 128, not 8.0"),
        (lambda: BlockFifo(0, 4), "an item must have at least one bit, not the shape 0"),
        (lambda: BlockFifo(8, 3), "depth must be a power of two from 2 to 65,536, not 3"),
        (lambda: FrameBuffer(0, depth=4), "width must be a whole number from 1 to 1,024, not 0"),
        (lambda: FrameBuffer(8, depth=True), "depth must be a power of two from 2 to 65,536, not True"),
    ],
)
def test_refused(make, said):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Amaranth's, of what was made and never used
        with pytest.raises(ValueError) as refusal:
            make()
    assert said in str(refusal.value)
