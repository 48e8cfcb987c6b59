"""Processes and calls happen in order of time."""

from superlip.timing.clock import Clock, Signal


def test_processes_and_calls_in_order_of_time():
    clock, signal, seen = Clock(), Signal(), []

    def waits():
        yield 5
        seen.append(("process", clock.now))
        yield signal
        seen.append(("given", clock.now))
        yield 3  # has passed: now
        seen.append(("now", clock.now))

    clock.begin(waits())
    clock.at(2, seen.append, "call")
    clock.at(9, clock.give, signal)
    clock.run()
    assert seen == ["call", ("process", 5), ("given", 9), ("now", 9)] and clock.now == 9


def test_a_signal_wakes_whoever_waited_before():
    clock, signal, seen = Clock(), Signal(), []

    def waits(name):
        yield signal
        seen.append(name)
        yield signal
        seen.append(name.upper())

    clock.begin(waits("a"))
    clock.begin(waits("b"))
    clock.at(1, clock.give, signal)
    clock.run()
    assert seen == ["a", "b"]
