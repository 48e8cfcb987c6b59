"""AXI4 memory behind the DMA ports of a testbench: latency, random pauses, chosen error responses, protocol checks."""

from collections import deque

import cocotb
from amaranth.utils import exact_log2
from cocotb.triggers import RisingEdge

from superlip.rtl.config import BUS_ADDRESS_BITS, DRAM_ADDRESS_BITS, PAGE
from superlip.rtl.ports import regions_layout

__all__ = ["DECERR", "SLVERR", "AxiMemory", "Regions", "WrappedMemory", "bursts_of", "copy_words", "dram_runs",
           "random_copy", "wide_number", "words_of"]  # fmt: skip

SLVERR, DECERR = 2, 3


class AxiMemory:
    """Bytes behind all ports; each port runs on its own.

    Parameters
    ----------
    size : int
        Bytes.
    latency : int
        Cycles from an address to its first beat, or from the last beat of data to the response; each port may get
        its own.
    stall : float
        Chance of a pause, on each channel in each cycle.
    waits : bool
        Whether ``ready`` of an address or of data comes only after its ``valid``, as AXI lets it.
    places : list of (int, int), optional
        For each port, the byte address on its bus and the place in ``data`` that it stands for; without, they are the
        same.

    Attributes
    ----------
    broken : dict of int to int
        Places of beats that are answered with this response, other than OKAY (and not written).
    """

    def __init__(self, dut, *, rng, size, beat_bytes, latency=3, stall=0.0, waits=False, places=None):
        self.dut, self.rng, self.beat_bytes = dut, rng, beat_bytes
        self.latency, self.stall, self.broken = latency, stall, {}
        self.waits, self.places = waits, places
        self.data = bytearray(rng.randbytes(size))
        self.ports = {}

    def serve(self, ports, channel):
        """Start serving ``ports`` ports; ``channel`` is "read" or "write". Returns the tasks."""
        for index in range(ports):
            self.ports[index] = (_ReadPort if channel == "read" else _WritePort)(self, index)
        return [cocotb.start_soon(port.run()) for port in self.ports.values()]

    @property
    def idle(self):
        return all(port.idle for port in self.ports.values())

    def pause(self):
        return self.rng.random() < self.stall

    def place(self, port, address):
        """Where in ``data`` an address on a port's bus lies."""
        bus, place = self.places[port] if self.places else (0, 0)
        return (address - bus) % (1 << BUS_ADDRESS_BITS) + place

    def is_ready(self, valid):
        """For a channel on which ``valid`` is seen."""
        return not self.pause() and (not self.waits or valid.value == 1)


class WrappedMemory(AxiMemory):
    """Answers at every address of the bus: the few bytes of ``data`` (a power of two) are everywhere again."""

    def place(self, port, address):
        return address % len(self.data)


class _Port:
    """What both directions have in common: signals, and the checks of an address channel."""

    def __init__(self, memory, index, letter):
        self.memory, self.letter, self.index, self.prefix = memory, letter, index, f"dram__{index}__"
        self.held, self.latency = None, memory.latency
        self.asked = []  # (address on the bus, beats), in order
        self.most = 0
        self.beats = self.bursts = 0

    def signal(self, name):
        return getattr(self.memory.dut, self.prefix + name)

    def address(self, ready):
        """Sample the address channel: (place in ``data``, beats) if it was taken, else None."""
        a = self.letter
        if not self.valid.value:
            assert self.held is None, f"{a}valid fell before {a}ready"
            return None
        burst = int(self.addr.value), int(self.len.value) + 1
        assert self.held in (None, burst), f"{a}addr changed while {a}valid waited"
        self.held = None if ready else burst
        if not ready:
            return None
        address, beats = burst
        size = self.memory.beat_bytes
        assert address % size == 0
        assert address // PAGE == (address + beats * size - 1) // PAGE, f"burst at {address:#x} crosses 4 KiB"
        assert int(self.signal(f"{a}burst").value) == 1
        assert 1 << int(self.signal(f"{a}size").value) == size
        self.bursts += 1
        self.asked.append(burst)
        return self.memory.place(self.index, address), beats


class _ReadPort(_Port):
    def __init__(self, memory, index):
        super().__init__(memory, index, "ar")
        self.valid, self.addr, self.len = (self.signal(f"ar{n}") for n in ("valid", "addr", "len"))
        self.queue = deque()

    @property
    def idle(self):
        return not self.queue

    async def run(self):
        memory, size = self.memory, self.memory.beat_bytes
        arready, rvalid, rready = (self.signal(n) for n in ("arready", "rvalid", "rready"))
        rdata, rresp, rlast = (self.signal(n) for n in ("rdata", "rresp", "rlast"))
        arready.value = rvalid.value = 0
        ready = shown = False
        now = 0
        while True:
            await RisingEdge(memory.dut.clk)
            now += 1
            if (burst := self.address(ready)) is not None:
                self.queue.append([now + self.latency, *burst])
                self.most = max(self.most, len(self.queue))
            if shown and rready.value:
                shown = False
                self.beats += 1
                head = self.queue[0]
                head[1] += size
                head[2] -= 1
                if not head[2]:
                    self.queue.popleft()
            if not shown:
                if self.queue and self.queue[0][0] <= now and not memory.pause():
                    _, address, left = self.queue[0]
                    rdata.value = int.from_bytes(memory.data[address : address + size], "little")
                    rresp.value = memory.broken.get(address, 0)
                    rlast.value = left == 1
                    rvalid.value = 1
                    shown = True
                else:
                    rvalid.value = 0
            ready = memory.is_ready(self.valid)
            arready.value = ready


class _WritePort(_Port):
    def __init__(self, memory, index):
        super().__init__(memory, index, "aw")
        self.valid, self.addr, self.len = (self.signal(f"aw{n}") for n in ("valid", "addr", "len"))
        self.queue, self.words, self.answers = deque(), deque(), deque()
        self.written = []  # (place, value), in order
        self.answered = 0  # beats of bursts whose response was taken

    @property
    def idle(self):
        return not (self.queue or self.words or self.answers)

    async def run(self):
        memory, size = self.memory, self.memory.beat_bytes
        awready, wready, wvalid, bvalid = (self.signal(n) for n in ("awready", "wready", "wvalid", "bvalid"))
        wdata, wstrb, wlast, bresp = (self.signal(n) for n in ("wdata", "wstrb", "wlast", "bresp"))
        awready.value = wready.value = bvalid.value = 0
        aw_ready = w_ready = shown = False
        now = 0
        while True:
            await RisingEdge(memory.dut.clk)
            now += 1
            if (burst := self.address(aw_ready)) is not None:
                self.queue.append([*burst, burst[1], 0])
                self.most = max(self.most, len(self.queue) + len(self.answers))
            if w_ready and wvalid.value:
                assert int(wstrb.value) == (1 << size) - 1
                self.words.append((int(wdata.value), bool(wlast.value)))
                self.beats += 1
            while self.queue and self.words:
                self._write(now)
            if shown:  # bready is constant 1
                self.answered += self.answers.popleft()[1]
                shown = False
            shown = bool(self.answers) and self.answers[0][0] <= now and not memory.pause()
            bvalid.value = shown
            bresp.value = self.answers[0][2] if shown else 0
            aw_ready, w_ready = memory.is_ready(self.valid), memory.is_ready(wvalid)
            awready.value, wready.value = aw_ready, w_ready

    def _write(self, now):
        memory, size = self.memory, self.memory.beat_bytes
        head = self.queue[0]
        value, last = self.words.popleft()
        address = head[0]
        if address in memory.broken:
            head[3] = memory.broken[address]
        else:
            memory.data[address : address + size] = value.to_bytes(size, "little")
            self.written.append((address, value))
        head[0] += size
        head[1] -= 1
        assert last == (head[1] == 0), "wlast on the wrong beat"
        if last:
            self.answers.append((now + self.latency, head[2], head[3]))
            self.queue.popleft()


def copy_words(body):
    """(local, dram) word addresses of a LOAD or STORE body, in order."""

    def address(side, plane, row):
        return body.get(side, 0) + plane * body.get(f"{side}_stride2", 0) + row * body.get(f"{side}_stride1", 0)

    for plane in range(body["count2"]):
        for row in range(body["count1"]):
            local, dram = address("local", plane, row), address("dram", plane, row)
            for word in range(body["count0"]):
                yield local + word, dram + word


def wide_number(rng, bits):
    """Small, one bit, or anything."""
    return rng.choice([rng.randint(1, 3), 1 << rng.randrange(bits), rng.getrandbits(bits)])


def random_copy(rng, sizes, dram_words, *, words=150):
    """A copy within a memory of ``sizes`` (ACT, WEIGHT), of about ``words`` words at most; often with rows that
    follow each other without a gap, in DRAM or on chip."""
    while True:
        count0 = rng.choice([1, 1, 2, 3, rng.randint(1, 20), rng.randint(1, words)])
        count1 = rng.randint(1, max(1, min(12, words // count0)))
        count2 = rng.randint(1, max(1, min(5, words // (count0 * count1))))
        body = {"memory": rng.randint(0, 1), "count0": count0, "count1": count1, "count2": count2}
        for side in ("local", "dram"):
            stride1 = rng.choice([count0, count0 + rng.randint(0, 9), 0 if side == "dram" else count0 + 1])
            stride2 = rng.choice([stride1 * count1, count0 * count1, stride1 * count1 + rng.randint(0, 30)])
            body |= {f"{side}_stride1": stride1, f"{side}_stride2": stride2, side: 0}
        pairs = list(copy_words(body))
        room_local = sizes[body["memory"]] - 1 - max(p[0] for p in pairs)
        room_dram = dram_words - 1 - max(p[1] for p in pairs)
        if min(room_local, room_dram) >= 0:
            body["local"], body["dram"] = (rng.choice([0, r, rng.randint(0, r)]) for r in (room_local, room_dram))
            return body


def words_of(memory, config, stripe, word):
    """Bytes of a DRAM word, collected from all ports' stripes."""
    parts = (p * stripe + word * config.axi_bytes for p in range(config.axi_ports))
    return b"".join(memory.data[a : a + config.axi_bytes] for a in parts)


def bursts_of(config, start, count):
    """(first word, beats) of the bursts of a run of words."""
    page = PAGE // config.axi_bytes
    while count:
        beats = min(count, config.axi_burst_beats, page - start % page)
        yield start, beats
        start, count = start + beats, count - beats


def dram_runs(body):
    """Yield (first word, words) of what is contiguous in DRAM: rows that join, and planes of them (``MergeRows``)."""
    (count0, count1, count2), (stride1, stride2) = (
        [body.get(name, 0) for name in names]
        for names in (("count0", "count1", "count2"), ("dram_stride1", "dram_stride2"))
    )
    if count1 == 1 or count0 == stride1:
        count0, count1, count2, stride1, stride2 = count0 * count1, count2, 1, stride2, 0
        if count1 == 1 or count0 == stride1:
            count0, count1 = count0 * count1, 1
    for plane in range(count2):
        for row in range(count1):
            yield body.get("dram", 0) + plane * stride2 + row * stride1, count0


class Regions:
    """Four regions of a memory: all of it, and three random ones. It begins at page ``origin`` of the bus.

    Bodies have words of the memory as ``dram``; ``placed`` gives them addresses in one of the regions that they fit.
    """

    def __init__(self, rng, config, size):
        self.rng, self.page_words = rng, PAGE // config.axi_bytes
        pages, self.origin = size // PAGE, 0
        self.pages = [(0, pages)]
        for _ in range(3):
            first = rng.randrange(pages)
            self.pages.append((first, rng.randint(first + 1, pages)))

    def widen(self, chosen):
        """Regions anywhere on the bus, of any size, but for those whose pages are ``chosen``."""
        last = 1 << BUS_ADDRESS_BITS - exact_log2(PAGE)
        for region in range(4):
            first = min(wide_number(self.rng, BUS_ADDRESS_BITS - exact_log2(PAGE)), last - 1)
            any_pages = first, self.rng.choice([last, self.rng.randint(first + 1, last)])
            self.pages[region] = chosen.get(region, any_pages)
        self.origin = 0

    @property
    def value(self):
        """For the port ``regions``."""
        layout = regions_layout()
        pages = [{"base": self.origin + first, "end": self.origin + end} for first, end in self.pages]
        return layout.const(pages).as_value().value

    def placed(self, body):
        """The body with an address, if it has none yet."""
        body = dict(body)
        if body.pop("placed", False):
            return body
        first = body.get("dram", 0)
        end = max((start + count for start, count in dram_runs(body)), default=first)
        fitting = [
            r for r, (a, b) in enumerate(self.pages) if a * self.page_words <= first and end <= b * self.page_words
        ]
        region = self.rng.choice(fitting)
        return body | {"dram": region << DRAM_ADDRESS_BITS | first - self.pages[region][0] * self.page_words}

    def in_memory(self, body):
        """The body with a word of the memory again, if it has an address."""
        if not body.get("placed"):
            return body
        region, word = divmod(body["dram"], 1 << DRAM_ADDRESS_BITS)
        return body | {"dram": self.pages[region][0] * self.page_words + word}

    def spoiled(self, body):
        """The body with an address that leads out of its region, words of the runs before that, and the syndrome."""
        region = self.rng.randrange(4)
        first, end = (page * self.page_words for page in self.pages[region])
        room = end - first
        body = body | {"dram": 0}
        last = max(start + count for start, count in dram_runs(body))
        body["dram"] = self.rng.choice([max(0, room - self.rng.randrange(last)), (1 << DRAM_ADDRESS_BITS) - 1])
        good = 0
        for start, count in dram_runs(body):
            if start + count > room:
                page = self.origin + (first + start + count) // self.page_words
                return (
                    body | {"placed": True, "dram": region << DRAM_ADDRESS_BITS | body["dram"]},
                    good,
                    page & 0xFFFF_FFFF,
                )
            good += count
        raise AssertionError("it fits")
