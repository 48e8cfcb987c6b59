"""The DRAM, link and host models of the native simulator, in Python: cycle for cycle the same (tested side by side).

``native/models.h`` and ``native/host.h`` have the definition; these are for cocotb testbenches, which drive a node with
them and must see the same cycles. A testbench steps each model once a cycle with what the node drives in that cycle,
then drives what the model holds until the next.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from superlip.boards import types as boards
from superlip.rtl.config import NodeConfig

__all__ = [
    "DECERR", "OKAY", "Address", "Dram", "DramPort", "DramTiming", "HostBus", "LinkThrottle", "Wire", "link_rate",
    "timing",
]  # fmt: skip

FRACTION = 1 << 16
QUEUE = 16
WRITE_BUFFER = 16
OKAY, DECERR = 0, 3


@dataclass(frozen=True)
class DramTiming:
    """``rate`` and ``burst_overhead`` in bytes * 65536, a cycle and a burst."""

    rate: int
    burst_overhead: int
    latency: int


def timing(dram: boards.Dram, node: NodeConfig) -> DramTiming:
    """DramTiming of a ``superlip.boards.Dram`` behind the ports of a NodeConfig.

    Raises
    ------
    ValueError
        If the bandwidth is not positive, or the latency no integer.
    """
    rate = round(dram.bytes_per_cycle * FRACTION)
    if rate <= 0 or dram.burst_overhead < 0 or dram.latency < 0 or dram.latency != int(dram.latency):
        raise ValueError(f"{dram} needs a positive bandwidth, a latency of whole cycles and no negative overhead")
    overhead = round(dram.burst_overhead * dram.bytes_per_cycle * FRACTION / node.axi_ports)
    return DramTiming(rate, overhead, int(dram.latency))


def link_rate(link: boards.Link) -> int:
    """Bandwidth of a ``superlip.boards.Link`` in bytes * 65536 a cycle. ValueError if it is not positive."""
    rate = round(link.bytes_per_cycle * FRACTION)
    if rate <= 0:
        raise ValueError(f"{link} needs a positive bandwidth")
    return rate


@dataclass
class Address:
    """AR or AW as the node drives it."""

    valid: bool = False
    id: int = 0
    address: int = 0
    len: int = 0


@dataclass
class DramPort:
    """Signals of one port: the testbench sets the first group before each step, the model the second in it."""

    ar: Address = field(default_factory=Address)
    aw: Address = field(default_factory=Address)
    rready: bool = False
    wvalid: bool = False
    wdata: bytes = b""
    wstrb: int = 0
    wlast: bool = False
    bready: bool = False

    arready: bool = True
    awready: bool = True
    wready: bool = True
    rvalid: bool = False
    rid: int = 0
    rdata: bytes = b""
    rresp: int = 0
    rlast: bool = False
    bvalid: bool = False
    bid: int = 0
    bresp: int = 0


@dataclass
class _Burst:
    id: int
    address: int
    beats: int
    since: int
    first: bool = True
    resp: int = OKAY


@dataclass
class _State:
    reads: deque = field(default_factory=deque)
    writes: deque = field(default_factory=deque)
    responses: deque = field(default_factory=deque)
    buffer: deque = field(default_factory=deque)


class Dram:
    """DRAM of one node: ``contents`` (a bytearray) behind ``ports`` that share its bandwidth.

    Parameters
    ----------
    contents : bytearray
    timing : DramTiming
    ports, axi_bytes : int
        As in NodeConfig.
    windows : sequence of (bus address, length, offset)
        What of the bus is which part of the memory; by default all, one to one.
    """

    def __init__(
        self,
        contents: bytearray,
        timing: DramTiming,
        *,
        ports: int,
        axi_bytes: int,
        windows: Sequence[tuple[int, int, int]] = (),
    ):
        self.contents, self.timing, self.axi_bytes = contents, timing, axi_bytes
        self.windows = windows or [(0, len(contents), 0)]
        self.ports = [DramPort() for _ in range(ports)]
        self._states = [_State() for _ in range(ports)]
        self._balance = timing.rate
        self._turn = 0

    def step(self, t: int) -> None:
        """End of cycle ``t``: takes what the node drove in it, sets what the ports drive in ``t + 1``."""
        for port, state in zip(self.ports, self._states, strict=True):
            self._transfers(t, port, state)
        self._balance = min(self._balance + self.timing.rate, self.timing.rate)
        self._grants(t)
        for port, state in zip(self.ports, self._states, strict=True):
            self._respond(t, port, state)

    def _transfers(self, t, port, state):
        if port.rvalid and port.rready:
            port.rvalid = False
        if port.bvalid and port.bready:
            port.bvalid = False
        if port.ar.valid and port.arready:
            burst = _Burst(port.ar.id, port.ar.address, port.ar.len + 1, t + self.timing.latency)
            state.reads.append(burst)
        if port.aw.valid and port.awready:
            state.writes.append(_Burst(port.aw.id, port.aw.address, port.aw.len + 1, 0))
        if port.wvalid and port.wready:
            state.buffer.append((port.wdata, port.wstrb))

    def _grants(self, t):
        requesters = 2 * len(self.ports)
        order = [(self._turn + k) % requesters for k in range(requesters)]
        for r in order:
            if self._balance <= 0:
                break
            grant = self._write if r % 2 else self._read
            if grant(t, self.ports[r // 2], self._states[r // 2]):
                self._turn = (r + 1) % requesters

    def _offset(self, address):
        """Of a beat in the memory, or None where there is none."""
        at = next((address - bus + offset for bus, size, offset in self.windows if bus <= address < bus + size), None)
        return at if at is not None and at + self.axi_bytes <= len(self.contents) else None

    def _charge(self, burst):
        self._balance -= self.axi_bytes * FRACTION + (self.timing.burst_overhead if burst.first else 0)
        burst.first = False

    def _read(self, t, port, state):
        if not state.reads or port.rvalid or t + 1 < state.reads[0].since:
            return False
        burst = state.reads[0]
        self._charge(burst)
        at = self._offset(burst.address)
        port.rdata = bytes(self.axi_bytes) if at is None else bytes(self.contents[at : at + self.axi_bytes])
        port.rresp = DECERR if at is None else OKAY
        port.rvalid, port.rid, port.rlast = True, burst.id, burst.beats == 1
        burst.address += self.axi_bytes
        burst.beats -= 1
        if not burst.beats:
            state.reads.popleft()
        return True

    def _write(self, t, port, state):
        if not state.writes or not state.buffer:
            return False
        burst = state.writes[0]
        self._charge(burst)
        data, strobe = state.buffer.popleft()
        at = self._offset(burst.address)
        if at is not None:
            for i in range(self.axi_bytes):
                if strobe >> i & 1:
                    self.contents[at + i] = data[i]
        else:
            burst.resp = DECERR
        burst.address += self.axi_bytes
        burst.beats -= 1
        if not burst.beats:
            burst.since = t + max(self.timing.latency, 1)
            state.responses.append(state.writes.popleft())
        return True

    def _respond(self, t, port, state):
        if not port.bvalid and state.responses and t + 1 >= state.responses[0].since:
            burst = state.responses.popleft()
            port.bvalid, port.bid, port.bresp = True, burst.id, burst.resp
        port.arready = len(state.reads) < QUEUE
        port.awready = len(state.writes) < QUEUE
        port.wready = len(state.buffer) < WRITE_BUFFER


class LinkThrottle:
    """Bandwidth of one direction of a link: ``ready`` is the node's ``link_tx.ready`` in the coming cycle.

    Parameters
    ----------
    rate : int
        As ``link_rate`` gives it.
    flit_bytes : int
        NodeConfig.link_bytes.
    """

    def __init__(self, rate: int, flit_bytes: int):
        self.rate, self.cost = rate, flit_bytes * FRACTION
        self._balance = rate
        self.ready = True

    def step(self, valid: bool) -> bool:
        """End of a cycle in which ``link_tx.valid`` was ``valid``. Returns whether a flit was taken in it."""
        taken = bool(valid) and self.ready
        self._balance = min(self._balance - (self.cost if taken else 0) + self.rate, self.rate)
        self.ready = self._balance > 0
        return taken


class Wire:
    """Flits on their way: one pushed in cycle t arrives in cycle t + latency."""

    def __init__(self, latency: int):
        self.latency = latency
        self._flits = deque()

    def push(self, t: int, flit: int) -> None:
        """The flit left in cycle ``t``."""
        self._flits.append((t + self.latency, flit))

    def pop(self, t: int) -> int | None:
        """The flit that arrives in cycle ``t``, or None."""
        if self._flits and self._flits[0][0] == t:
            return self._flits.popleft()[1]
        return None


class HostBus:
    """The host's side of a node: AXI4-Lite accesses, one at a time; ``bready`` and ``rready`` are always 1.

    The testbench sets ``awready`` to ``rdata`` before each step, the model ``awvalid`` to ``data`` in it. ``read`` has
    the results, ``written_at`` the cycle in which the last write's address and data had both been taken.
    """

    def __init__(self):
        self.awvalid = self.wvalid = self.arvalid = False
        self.address = self.data = 0
        self.awready = self.wready = self.bvalid = self.arready = self.rvalid = 0
        self.bresp = self.rresp = self.rdata = 0
        self.read = []
        self.written_at = 0
        self._queue = deque()
        self._started = False

    def push(self, address: int, data: int | None = None, *, not_before: int = 0) -> None:
        """Write ``data``, or read; ``not_before`` is the first cycle in which valid may be up."""
        self._queue.append((address, data, not_before))

    @property
    def idle(self) -> bool:
        return not self._queue

    def step(self, t: int) -> None:
        """End of cycle ``t``. AssertionError if the node answers with an error."""
        if not self._queue:
            return
        address, data, not_before = self._queue[0]
        if not self._started:
            if t + 1 >= not_before:
                self._started = True
                self.address, self.data = address, data or 0
                self.awvalid = self.wvalid = data is not None
                self.arvalid = data is None
            return
        asking = self.awvalid or self.wvalid
        self.awvalid = self.awvalid and not self.awready
        self.wvalid = self.wvalid and not self.wready
        self.arvalid = self.arvalid and not self.arready
        if asking and not (self.awvalid or self.wvalid):
            self.written_at = t
        if not (self.rvalid if data is None else self.bvalid):
            return
        resp = self.rresp if data is None else self.bresp
        assert resp == OKAY, f"register {address:#x}: response {resp}"
        if data is None:
            self.read.append(self.rdata)
        self._queue.popleft()
        self._started = False
