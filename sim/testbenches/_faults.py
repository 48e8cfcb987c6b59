"""What may become of the flits of a frame on a bad wire: ``fault(random, flits, sizes)`` returns those that arrive."""

from superlip.sim.runner import rng

__all__ = ["FAULTS", "DamageFourth", "flip_bit", "garbage_before"]


def flip_bit(r, flits, sizes):
    index = r.randrange(len(flits))
    # Above its CRC the last flit is padding.
    bits = 32 if index == len(flits) - 1 else sizes.flit_bits
    return [flit ^ (1 << r.randrange(bits)) if i == index else flit for i, flit in enumerate(flits)]


def flip_first(r, flits, sizes):
    index = r.randrange(len(flits))
    return [flit ^ (1 << sizes.flit_bits) if i == index else flit for i, flit in enumerate(flits)]


def flip_last(r, flits, sizes):
    index = r.randrange(len(flits))
    return [flit ^ (2 << sizes.flit_bits) if i == index else flit for i, flit in enumerate(flits)]


def cut_end(r, flits, sizes):
    return flits[: r.randrange(1, len(flits))]


def cut_start(r, flits, sizes):
    return flits[r.randrange(1, len(flits)) :]


def drop_flit(r, flits, sizes):
    index = r.randrange(1, len(flits) - 1)
    return flits[:index] + flits[index + 1 :]


def repeat_flit(r, flits, sizes):
    index = r.randrange(1, len(flits) - 1)
    return flits[: index + 1] + flits[index:]


def garbage_before(r, flits, sizes):
    return [r.getrandbits(sizes.flit_bits), *flits]


class DamageFourth:
    """Applies a fault to the fourth DATA frame with payload."""

    def __init__(self, fault, sizes):
        self.fault, self.sizes, self.count, self.rng = fault, sizes, 0, rng()

    def __call__(self, flits):
        self.count += len(flits) > self.sizes.flits(0)
        if self.count != 4:
            return flits
        self.count += 1
        return self.fault(self.rng, flits, self.sizes)


FAULTS = [flip_bit, flip_first, flip_last, cut_end, cut_start, drop_flit, repeat_flit, garbage_before]
