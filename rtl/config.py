"""Sizes of a node: one frozen dataclass from which every width in the RTL follows."""

from dataclasses import dataclass

from superlip.element import INT8, ElementType

__all__ = [
    "NodeConfig", "Limit", "LIMITS", "CHOICES", "ADDRESS_BITS", "BUS_ADDRESS_BITS", "DRAM_ADDRESS_BITS", "FEED_WORDS",
    "PAGE", "PATIENCE",
]  # fmt: skip

ADDRESS_BITS = 20
"""Width of an on-chip address in instructions and frames, in words of ``tn`` bytes."""

DRAM_ADDRESS_BITS = 32
"""Width of an address in a region of DRAM, in words of ``tn`` bytes."""

BUS_ADDRESS_BITS = 49
"""Width of a byte address on the AXI ports: what a Zynq UltraScale+ has. A narrower bus takes the low bits."""

FEED_WORDS = 2
"""Words that FEED brings from the weight buffer to the array in a cycle; weight sets begin at their multiples."""

PATIENCE = 128
"""Cycles from one turn of a buffer's requester to its next, in which it comes before all others."""

PAGE = 4096
"""Bytes to which regions and stripes are aligned, and a boundary that no AXI burst crosses."""


@dataclass(frozen=True)
class Limit:
    """What an integer may be: ``low`` to ``high``, and a power of two or not."""

    low: int
    high: int
    power_of_two: bool = True

    def __str__(self):
        return f"{'a power of two' if self.power_of_two else 'a whole number'} from {self.low:,} to {self.high:,}"

    def holds(self, value):
        """Whether a number is an integer within the limit."""
        if not isinstance(value, int) or isinstance(value, bool) or not self.low <= value <= self.high:
            return False
        return not (self.power_of_two and value & (value - 1))

    def check(self, name, value):
        """ValueError, with the name, if a number is none of these."""
        if not self.holds(value):
            raise ValueError(f"{name} must be {self}, not {value!r}")


LIMITS = {
    "tm": Limit(8, 128),  # rows of FEED have 8 bits, and the largest AXI beat is 128 bytes
    "tn": Limit(8, 128),
    "act_words": Limit(64, 1 << ADDRESS_BITS, power_of_two=False),
    "act_banks": Limit(1, 64, power_of_two=False),
    "weight_words": Limit(64, 1 << ADDRESS_BITS, power_of_two=False),
    "weight_banks": Limit(1, 64, power_of_two=False),
    "acc_words": Limit(16, 1 << 16),  # ``acc`` of MATMUL has 16 bits
    "axi_ports": Limit(1, 32),
    "axi_outstanding": Limit(1, 256),
    "axi_burst_beats": Limit(1, 256, power_of_two=False),  # AXI4's longest burst
    "queue_depth": Limit(2, 1024),
    "link_bytes": Limit(8, 128),
    "frame_words": Limit(1, 128),
    "frame_slots": Limit(1, 128),  # credits are counted modulo 256 (rtl/link/credits.py)
    "watchdog_cycles": Limit(0, (1 << 32) - 1, power_of_two=False),  # its register has 32 bits
}
"""Of every size of a node by itself; ``NodeConfig`` and node files are held against it."""

CHOICES = {"element": (INT8,), "mac": ("packed", "single"), "depthwise_rows": (0, 16, 32, 64)}
"""What each setting of a node may be that is no size."""


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """Every size of one node.

    A *word* is ``tn`` channels of one pixel, an element each: what the activation buffer delivers, what DRAM and
    links carry, and one output channel's weights for one (n-tile, kh, kw). ``LIMITS`` says how large each size may be,
    ``CHOICES`` what the other settings may be.

    Parameters
    ----------
    element : ElementType, or its name
        What an activation and a weight is.
    tm, tn : int
        Output and input channels of the PE array; it does ``tm * tn`` MACs a cycle. Equal in a node
        (an OFM word of one layer is an IFM word of the next).
    mac : str
        ``"packed"``: two 8-bit MACs in one 27x18 DSP; ``"single"``: one MAC in one 18x18 multiplier.
    act_words, act_banks : int
        Words and banks of the activation buffer. A bank gives one read and takes one write a cycle.
    weight_words, weight_banks : int
        The same for the weight buffer.
    acc_words : int
        Words (``tm`` int32 partial sums each) of the accumulator buffer; it has two banks, one for
        each half of the addresses.
    depthwise_rows : int
        Source rows that VECTOR's DEPTHWISE goes down at once; 0: a node without it, whose MATMUL does such layers.
    axi_ports : int
        AXI4 ports to DRAM. Port p carries bytes [p * axi_bytes, (p + 1) * axi_bytes) of each word.
    axi_outstanding : int
        Read bursts (and write bursts) that a port may have in flight.
    axi_burst_beats : int
        Longest burst, in beats; it never crosses a 4 KiB boundary.
    queue_depth : int
        Instructions that wait in front of each unit.
    link_bytes : int
        Bytes of a link flit.
    frame_words : int
        Longest payload of a frame, in words.
    frame_slots : int
        Frames the receiver can hold: the sender's credits.
    watchdog_cycles : int
        Cycles without progress of any unit after which a running node reports a hang (reset value of
        its register; 0 switches it off).

    Raises
    ------
    ValueError
        If a size is beyond its limit or a setting none of its choices, or two of them don't go together.
    """

    element: ElementType = INT8
    tm: int = 8
    tn: int = 8
    mac: str = "packed"
    act_words: int = 4096
    act_banks: int = 4
    weight_words: int = 4096
    weight_banks: int = 2
    acc_words: int = 256
    depthwise_rows: int = 0
    axi_ports: int = 1
    axi_outstanding: int = 4
    axi_burst_beats: int = 64
    queue_depth: int = 16
    link_bytes: int = 8
    frame_words: int = 32
    frame_slots: int = 4
    watchdog_cycles: int = 100_000

    def __post_init__(self):
        for name, limit in LIMITS.items():
            limit.check(name, getattr(self, name))
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, not {getattr(self, name)!r}")
        object.__setattr__(self, "element", ElementType(self.element))
        for name in ("act_words", "weight_words"):
            words, banks = getattr(self, name), getattr(self, name.replace("words", "banks"))
            if words % banks or (words // banks) & (words // banks - 1):
                raise ValueError(f"{name}={words} must split into {banks} banks of a power of two of words")
        if self.weight_words // self.weight_banks < FEED_WORDS:
            raise ValueError(
                f"weight_words={self.weight_words} must leave each of weight_banks={self.weight_banks} banks at least "
                f"{FEED_WORDS} words, which FEED reads at once"
            )
        if self.tn % self.axi_ports or not 4 <= self.axi_bytes <= 128:
            raise ValueError(f"axi_ports={self.axi_ports} must split a word of tn={self.tn} bytes in 4 to 128 bytes")

    def require_node(self):
        """Raise ValueError where parts of these sizes work, each alone, but no node can be made of them."""
        if self.tm != self.tn:
            raise ValueError(
                f"a node needs tm = tn, not tm={self.tm} and tn={self.tn}: the results of one layer, tm channels a "
                f"word, are the input of the next, tn channels a word"
            )
        if self.link_bytes > self.tn:
            raise ValueError(
                f"link_bytes={self.link_bytes} must be at most tn={self.tn}: a word, of tn bytes, is whole flits"
            )

    @property
    def axi_bytes(self):
        """Bytes of a beat on one AXI port."""
        return self.word_bytes // self.axi_ports

    @property
    def word_bits(self):
        """Bits of a word of the activation or weight buffer."""
        return 8 * self.word_bytes

    @property
    def word_bytes(self):
        """Bytes of a word of the activation or weight buffer."""
        return self.tn * self.element.bytes

    @property
    def copies_under_way(self):
        """Instructions of LOAD, and of STORE, that may be taken and not done."""
        return max(4, self.axi_outstanding) + 2

    @property
    def send_words(self):
        """Words that SEND may have read and the link not taken."""
        return max(8, 2 * self.frame_words)

    @property
    def macs_per_cycle(self):
        """Multiply-accumulates a cycle at full use of the array."""
        return self.tm * self.tn
