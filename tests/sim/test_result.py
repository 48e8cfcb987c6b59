"""What the simulator's lines and files say of a run."""

import numpy as np
import pytest

from superlip.rtl.isa import Unit
from superlip.rtl.ports import UnitError
from superlip.sim.result import LOST_DTYPE, PROFILE_DTYPE, Facts, SimulationError, _node_error, read_result, trace_dtype

TN = 8


@pytest.mark.parametrize(
    ("error", "syndrome", "text"),
    [
        (0x101, 5000, "FEED: address 5000 is outside the memory"),
        (0x003, 0x203, "LOAD: a read on AXI port 2 was answered with DECERR"),
        (0x305, 0x302, "VECTOR: the counter of VECTOR for posts of MATMUL overflowed"),
        (0x606, 9, "instruction fetch: unknown opcode 9"),
        (0x807, 0xC002, "watchdog: no progress: MATMUL waits for remote 6 and remote 7"),
        (0x807, 0x0006, "watchdog: no progress: instruction fetch makes no progress"),
        (0x708, 0x0200_0009, "link: a frame is intact but wrong: DESTINATION is 9"),
        (0x709, 3, "link: a frame had a wrong CRC or was cut short (3 frames lost so far)"),
    ],
)
def test_errors_in_words(error, syndrome, text):
    assert str(_node_error(4, 1, 77, error, syndrome)) == f"node 1, image 4, cycle 77: {text}"


def test_trace_records_have_no_gaps():
    assert trace_dtype(64).itemsize == 8 + 4 + 4 + 2 + 2 + 8 + 64


def lines_of(facts, *lines):
    for line in lines:
        key, *values = line.split()
        facts.add(key, values)
    return facts


def files(folder, *, trace=(), profile=(), outputs=b""):
    (folder / "outputs.bin").write_bytes(outputs)
    np.array(list(trace), trace_dtype(TN)).tofile(folder / "trace-0.bin")
    np.array(list(profile), PROFILE_DTYPE).tofile(folder / "profile.bin")
    np.array([], LOST_DTYPE).tofile(folder / "lost.bin")


def written(cycle, image):
    return (cycle, image, 3, 7, 0, [255], [1] * TN)


def done(segment, taken, first, last):
    return (0, 0, Unit.VECTOR, 7, segment, taken, first, last, 0, 0, 0, [0] * 8, 0)


def test_time_between_segments_is_nobodys(tmp_path):
    """Segment 0 takes cycles 100 to 150, segment 1 begins in cycle 190: 40 cycles that do not count."""
    facts = lines_of(
        Facts(),
        "image 0 0 100 50",
        "image 0 1 190 30",
        "node 0 0 0 50",
        "node 0 1 0 25",
        "bytes 0 1 2 3 4",
        "end 220 0.5",
    )
    files(tmp_path, trace=[written(140, 0), written(195, 0)], outputs=b"abcdef",
          profile=[done(0, 1, 110, 140), done(1, 1, 192, 195), done(1, 0, 0, 0)])  # fmt: skip
    result = read_result(tmp_path, facts, boards=1, outputs=[(0, 0, 4), (0, 64, 2)], tn=TN)
    assert result.check() is result
    assert result.cycles.tolist() == [80] and result.node_cycles.tolist() == [[75]]
    assert result.trace["cycle"].tolist() == [40, 55]
    assert result.profile["first_taken"].tolist() == [10, 52, -1] and result.profile["last_done"].tolist() == [
        40,
        55,
        -1,
    ]
    assert [part.tobytes() for part in result.outputs[0]] == [b"abcd", b"ef"]
    assert (result.loaded[0], result.fetched[0], result.stored[0], result.sent[0]) == (1, 2, 3, 4)
    assert result.cluster_cycle(0, 40) == 140 and result.cluster_cycle(0, 55) == 195
    assert facts.ended and result.simulated_cycles == 220


def test_an_image_with_an_error_is_none_of_the_good_ones(tmp_path):
    facts = lines_of(Facts(), "image 0 0 0 50", "image 1 0 50 60", "node 0 0 0 50", "bytes 0 0 0 0 0",
                     "error 1 0 0 20 769 5000", "state 0 2 16385", "end 110 0")  # fmt: skip
    files(tmp_path)
    result = read_result(tmp_path, facts, boards=1, outputs=[], tn=TN)
    assert result.cycles.tolist() == [50] and len(result.outputs) == 1
    (error,) = result.errors
    assert (error.image, error.cycle, error.unit, error.code) == (1, 20, Unit(3).name, UnitError.ADDRESS)
    with pytest.raises(SimulationError, match="address 5000 is outside the memory"):
        result.check()
    (state,) = result.states
    assert state.unit is Unit(2) and state.tag == 8 and state.busy and not state.stalled
