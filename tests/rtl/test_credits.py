"""What credits need of the sizes."""

import pytest

from superlip.rtl.link.credits import CreditGiver


@pytest.mark.parametrize("slots", [0, 129])
def test_slots_fit_the_counts(slots):
    with pytest.raises(ValueError, match="slots"):
        CreditGiver(slots)


@pytest.mark.parametrize("slots", [1, 128])
def test_the_ends_of_what_fits(slots):
    assert CreditGiver(slots).slots == slots
