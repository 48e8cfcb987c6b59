"""Frames of SEND."""

import pytest

from superlip.timing.link import Cut, frames_of


def send(counts, remote, local=(0, 100, 1000)):
    names = ("count0", "count1", "count2", "remote", "remote_stride1", "remote_stride2", "local", "local_stride1",
             "local_stride2")  # fmt: skip
    return dict(zip(names, (*counts, *remote, *local), strict=True))


@pytest.mark.parametrize(
    "body, expected",
    [
        (send((0, 1, 1), (0, 0, 0)), [Cut(0, 0, 0)]),
        (send((20, 1, 1), (5, 0, 0)), [Cut(20, 0, 5)]),
        (send((20, 2, 1), (5, 20, 0)), [Cut(32, 0, 5), Cut(8, 112, 37)]),  # rows merge
        (send((20, 2, 1), (5, 30, 0)), [Cut(20, 0, 5, True), Cut(20, 100, 35)]),
        (send((32, 2, 1), (0, 50, 0)), [Cut(32, 0, 0), Cut(32, 100, 50)]),  # a full frame ends by itself
        (send((4, 2, 2), (0, 4, 100)), [Cut(8, 0, 0, True), Cut(8, 1000, 100)]),
    ],
)
def test_frames(body, expected):
    assert frames_of(body, 32) == expected
