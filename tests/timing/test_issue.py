"""A unit's queue and counters as times."""

from superlip.rtl.isa import Unit
from superlip.timing.clock import Clock
from superlip.timing.instructions import Instruction
from superlip.timing.issue import Issue


def instruction(waits=(), posts=()):
    return Instruction(int(Unit.LOAD), 1, list(waits), list(posts), {})


def test_an_instruction_is_taken_when_it_could_have_been():
    clock = Clock()
    issue, taken = Issue(clock, 4), []

    def unit():
        for not_before in (0, 0, 50):
            found = yield from issue.take(not_before)
            taken.append(found.taken)

    for waits in ((), [(3, 2)], ()):
        issue.arrive(instruction(waits), 10)
    clock.begin(unit())
    clock.at(20, issue.post, 3, 21)
    clock.at(30, issue.post, 3, 31)
    clock.run()
    assert taken == [12, 31, 50] and [i.met for i in issue.instructions] == [[], [(3, 31)], []]


def test_done_posts_and_makes_room():
    clock = Clock()
    issues = [Issue(clock, 4, in_flight=1) for _ in Unit]
    first, second = instruction(posts=[int(Unit.FEED)]), instruction()
    for each in (first, second):
        issues[0].arrive(each, 0)

    def unit():
        while True:
            yield from issues[0].take()

    clock.begin(unit())
    clock.at(40, issues[0].done, first, issues)
    clock.run()
    assert (first.taken, first.done, second.taken) == (2, 40, 41)
    assert list(issues[Unit.FEED].posts[Unit.LOAD]) == [41]


def test_a_full_queue_holds_one_more_in_front_of_the_unit():
    issue = Issue(Clock(), 2)
    for number in range(3):
        assert not issue.full
        issue.arrive(instruction(), number)
    assert issue.full
