"""Sizes of a node: one frozen dataclass from which every width in the RTL follows."""

import dataclasses
from dataclasses import dataclass

__all__ = ["NodeConfig", "ADDRESS_BITS", "DRAM_ADDRESS_BITS"]

ADDRESS_BITS = 20
"""Width of an on-chip address in instructions and frames, in words of ``tn`` bytes."""

DRAM_ADDRESS_BITS = 32
"""Width of a DRAM address in instructions, in words of ``tn`` bytes."""


@dataclass(frozen=True, kw_only=True)
class NodeConfig:
    """Every size of one node.

    A *word* is ``tn`` int8 channels of one pixel: what the activation buffer delivers, what DRAM and
    links carry, and one output channel's weights for one (n-tile, kh, kw).

    Parameters
    ----------
    tm, tn : int
        Output and input channels of the PE array; it does ``tm * tn`` MACs a cycle. Equal in a node
        (an OFM word of one layer is an IFM word of the next); powers of two, at least 8.
    mac : str
        ``"packed"``: two int8 MACs in one 27x18 DSP; ``"single"``: one MAC in one 18x18 multiplier.
    act_words, act_banks : int
        Words and banks of the activation buffer. A bank gives one read and takes one write a cycle.
    weight_words, weight_banks : int
        The same for the weight buffer.
    acc_words : int
        Words (``tm`` int32 partial sums each) of the accumulator buffer; it has two banks, one for
        each half of the addresses.
    axi_ports : int
        AXI4 ports to DRAM. Port p carries bytes [p * axi_bytes, (p + 1) * axi_bytes) of each word.
    axi_outstanding : int
        Read bursts (and write bursts) that a port may have in flight.
    axi_burst_beats : int
        Longest burst, in beats; at most 256, and never across a 4 KiB boundary.
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
    """

    tm: int = 8
    tn: int = 8
    mac: str = "packed"
    act_words: int = 4096
    act_banks: int = 4
    weight_words: int = 4096
    weight_banks: int = 2
    acc_words: int = 256
    axi_ports: int = 1
    axi_outstanding: int = 4
    axi_burst_beats: int = 64
    queue_depth: int = 16
    link_bytes: int = 8
    frame_words: int = 32
    frame_slots: int = 4
    watchdog_cycles: int = 100_000

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in (int, "int") and (not isinstance(value, int) or isinstance(value, bool)):
                raise ValueError(f"{field.name} must be an integer, not {value!r}")
        self._require_power_of_two("tm", 8)
        self._require_power_of_two("tn", 8)
        for name in ("act_words", "weight_words"):
            words, banks = getattr(self, name), getattr(self, name.replace("words", "banks"))
            if banks < 1 or words % banks or (words // banks) & (words // banks - 1):
                raise ValueError(f"{name}={words} must split into {banks} banks of a power of two of words")
            if words > 1 << ADDRESS_BITS:
                raise ValueError(f"{name}={words} exceeds the {ADDRESS_BITS}-bit address of an instruction")
        self._require_power_of_two("acc_words", 16)
        for name in ("axi_ports", "axi_outstanding", "queue_depth", "frame_words", "frame_slots"):
            self._require_power_of_two(name, 1)
        self._require_power_of_two("link_bytes", 8)
        if self.mac not in ("packed", "single"):
            raise ValueError(f"mac must be 'packed' or 'single', not {self.mac!r}")
        if self.tn % self.axi_ports or not 4 <= self.axi_bytes <= 128:
            raise ValueError(f"axi_ports={self.axi_ports} must split a word of tn={self.tn} bytes in 4 to 128 bytes")
        if not 1 <= self.axi_burst_beats <= 256:
            raise ValueError(f"axi_burst_beats must be 1 to 256, not {self.axi_burst_beats}")
        if self.frame_words > 128:
            raise ValueError(f"frame_words must be at most 128, not {self.frame_words}")

    def _require_power_of_two(self, name, least):
        value = getattr(self, name)
        if value < least or value & (value - 1):
            raise ValueError(f"{name} must be a power of two, at least {least}, not {value}")

    @property
    def axi_bytes(self):
        """Bytes of a beat on one AXI port."""
        return self.tn // self.axi_ports

    @property
    def word_bits(self):
        """Bits of a word of the activation or weight buffer."""
        return 8 * self.tn

    @property
    def macs_per_cycle(self):
        """Multiply-accumulates a cycle at full use of the array."""
        return self.tm * self.tn
