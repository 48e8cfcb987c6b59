"""What must be over before an operation begins: the same whether it is reckoned from the start or change by change."""

from hypothesis import given
from hypothesis import strategies as st

from superlip.plan.overlap import Overlap

DEPTHS = st.lists(st.integers(1, 6), min_size=1, max_size=20)


@given(DEPTHS, st.sets(st.integers(0, 19)))
def test_what_must_be_over_before_an_operation_begins(depths, barriers):
    after = Overlap(depths, barriers).after
    assert len(after) == len(depths)
    for index, last in enumerate(after):
        assert -1 <= last < index or index == 0 == last + 1
        assert last >= index - depths[index], "no more than so many overlap"
        if index in barriers or depths[index] == 1:
            assert last == index - 1
    assert after == sorted(after), "an operation waits for all that one before it waits for"


@given(DEPTHS, st.data())
def test_changes_say_how_far_they_reach(depths, data):
    """Other depths, barriers, and depths as they were."""
    depths, barriers = list(depths), set()
    overlap = Overlap(depths)
    for _ in range(data.draw(st.integers(0, 8))):
        before, a = list(overlap.after), data.draw(st.integers(0, len(depths) - 1))
        ops = range(a, data.draw(st.sampled_from([a + 1, len(depths)])))
        if data.draw(st.booleans()):
            depth, old = data.draw(st.integers(1, 6)), depths[a : ops.stop]
            changed = overlap.deepen(ops, depth)
            now = list(overlap.after)
            overlap.restore(ops, old)
            assert overlap.after == before and overlap.depths == depths
            assert overlap.deepen(ops, depth) == changed and overlap.after == now
            depths[a : ops.stop] = [depth] * len(ops)
        else:
            changed = overlap.bar(a)
            barriers.add(a)
        assert overlap.after == Overlap(depths, barriers).after
        differing = {i for i, (one, other) in enumerate(zip(before, overlap.after, strict=True)) if one != other}
        assert differing <= set(changed) and (not differing or changed[-1] == max(differing))
