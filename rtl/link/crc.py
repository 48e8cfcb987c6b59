"""CRC-32 of IEEE 802.3: the plain-Python model, and hardware whose matrices are derived from it."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from ..config import LIMITS, Limit
from ..parameters import Component

__all__ = ["Crc32", "advance", "crc32"]

POLYNOMIAL = 0xEDB88320  # reflected: bit 0 of a byte comes first
ONES = 0xFFFFFFFF


def advance(state, data):
    """State of the register after ``data`` (bytes), without inversions at either end: linear in both."""
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (POLYNOMIAL if state & 1 else 0)
    return state


def crc32(data):
    """CRC-32 of ``data`` (bytes), as ``zlib.crc32``."""
    return advance(ONES, data) ^ ONES


def _masks(columns):
    """Rows of the matrix with these columns: for each output bit, which input bits it is the parity of."""
    return [sum(1 << i for i, column in enumerate(columns) if column >> bit & 1) for bit in range(32)]


def _multiply(vector, columns):
    width = len(vector)
    return Cat((vector & Const(mask, width)).xor() for mask in _masks(columns))


class Crc32(Component):
    """CRC-32 of a frame, ``flit_bytes`` bytes a cycle.

    The data's part of the sum is registered before it meets the state, so that the loop holds the 32x32
    state matrix alone.

    Reset drops the flit under way; ``crc`` then means nothing until a frame has begun.

    Parameters
    ----------
    flit_bytes : int
        Bytes taken in a cycle; the low byte comes first.

    Members
    -------
    valid : In(1)
        Take ``data`` in this cycle.
    first : In(1)
        ``data`` begins a frame.
    data : In(8 * flit_bytes)
    crc : Out(32)
        CRC of the frame up to the flit taken ``latency`` cycles earlier; holds while nothing is taken.
    """

    latency = 2
    """Cycles from a flit to the CRC that includes it."""

    def __init__(self, flit_bytes):
        Limit(4, LIMITS["link_bytes"].high, power_of_two=False).check("flit_bytes", flit_bytes)
        self.flit_bytes = flit_bytes
        super().__init__({"valid": In(1), "first": In(1), "data": In(8 * flit_bytes), "crc": Out(32)})

    def elaborate(self, platform):
        m = Module()
        zeros = bytes(self.flit_bytes)
        # What a state becomes over one flit of zeros, and what a single data bit leaves in a zero state.
        state_columns = [advance(1 << bit, zeros) for bit in range(32)]
        data_columns = [
            advance(0, (1 << bit).to_bytes(self.flit_bytes, "little")) for bit in range(8 * self.flit_bytes)
        ]
        part = Signal(32, reset_less=True)
        part_valid = Signal()
        part_first = Signal(reset_less=True)
        state = Signal(32, reset_less=True)
        m.d.sync += part_valid.eq(self.valid)
        with m.If(self.valid):
            m.d.sync += [part.eq(_multiply(self.data, data_columns)), part_first.eq(self.first)]
        with m.If(part_valid):
            shifted = Mux(part_first, advance(ONES, zeros), _multiply(state, state_columns))
            m.d.sync += state.eq(shifted ^ part)
        m.d.comb += self.crc.eq(~state)
        return m
