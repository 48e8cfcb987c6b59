"""Both buffers of a node behind its read ports, for testbenches of units that read them."""

from cocotb.triggers import RisingEdge

from superlip.rtl.ports import READ_LATENCY

__all__ = ["Memories"]


class _Contents(dict):
    """Random words of a memory, each made when it is first looked at: a memory may be large."""

    def __init__(self, size, rng, bits):
        super().__init__()
        self._size, self._rng, self._bits = size, rng, bits

    def __missing__(self, address):
        assert address < self._size
        self[address] = self._rng.getrandbits(self._bits)
        return self[address]


class Memories:
    """Answers ``read_act`` and ``read_weight``, which grant at random.

    Parameters
    ----------
    stall : float
        Chance of a cycle in which a port grants nothing.

    Attributes
    ----------
    words : list of dict of int to int
        Contents by ``isa.Memory`` and address, random.
    reads : int
        Words that were read.
    is_read : bool
        A word was asked for in the cycle before.
    """

    def __init__(self, dut, config, *, rng, stall):
        self.dut, self.rng, self.stall, self.bits = dut, rng, stall, config.word_bits
        sizes = (config.act_words, config.weight_words)
        self.words = [_Contents(size, rng, config.word_bits) for size in sizes]
        names = ("valid", "ready", "addr", "data", "data_valid")
        self.ports = [[getattr(dut, f"read_{port}__{name}") for name in names] for port in ("act", "weight")]
        self.reads, self.is_read = 0, False
        for _, ready, _, _, data_valid in self.ports:
            ready.value = data_valid.value = 0

    async def run(self):
        """Run for ever; start with ``cocotb.start_soon``."""
        readies = [0, 0]
        pipes = [[None] * (READ_LATENCY - 1) for _ in self.ports]
        while True:
            await RisingEdge(self.dut.clk)
            before = self.reads
            for memory, (valid, ready, address, data, data_valid) in enumerate(self.ports):
                accepted = readies[memory] and valid.value == 1
                pipes[memory].append(self.words[memory][int(address.value)] if accepted else None)
                self.reads += bool(accepted)
                word = pipes[memory].pop(0)
                data_valid.value = int(word is not None)
                data.value = self.rng.getrandbits(self.bits) if word is None else word
                readies[memory] = int(self.rng.random() >= self.stall)
                ready.value = readies[memory]
            self.is_read = self.reads != before
