"""MATMUL: pixels from the activation buffer through the array to the accumulators."""

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .accumulators import Accumulators, update_layout
from .isa import MAX_FOLD, Opcode
from .parameters import Component, check_config
from .pixel_walk import PixelWalk
from .ports import READ_LATENCY, ReadPort, UnitError, UnitInterface

__all__ = ["MatMul", "model"]


class MatMul(Component):
    """Issues one pixel a cycle, as long as the weights of the pass are there and the buffer grants its read.

    There are no gaps between pixels, rows, passes or instructions, except that

    * the first pixel of a pass waits for ``shadow_ready``;
    * a pixel whose accumulator word is still being updated by one of the last few pixels waits for
      that: only passes shorter than Accumulators.UPDATE_CYCLES, or accumulating instructions that meet the end of the
      one before, ever do;
    * an instruction takes 3 cycles to prepare, overlapping with the one before (see PixelWalk);
    * with ``fold``, each row of a pass begins with (1 << fold) - 1 pixels that are only read.

    ``x`` of a pixel leaves ``ISSUE_CYCLES`` cycles after its read was issued. ``done`` is ``retired`` with
    ``last``, in the cycle in which the accumulators are written.

    Errors as PixelWalk has them, raised when everything before has been accumulated.

    Reset drops the instruction and the pixels under way and clears the error.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    unit : Out(UnitInterface(Opcode.MATMUL))
    read : Out(ReadPort(config.word_bits))
        Activation buffer.
    shadow_ready : In(1)
        A pass may begin: its weights will be in the shadow registers when its first pixel gets there.
    swap : Out(1)
        A pass begins: the first pixel was issued.
    x, x_valid, x_swap : Out
        To the array.
    update : Out(update_layout)
        To the accumulators, together with ``x``.
    retired : In(update_layout)
        From the accumulators: ``update``, when it is in memory.
    """

    ISSUE_CYCLES = READ_LATENCY + 1
    """Cycles from a read (and ``swap``) to ``x`` (and ``x_swap``)."""

    def __init__(self, config):
        check_config(config)
        self.config = config
        super().__init__(
            {
                "unit": Out(UnitInterface(Opcode.MATMUL)),
                "read": Out(ReadPort(config.word_bits)),
                "shadow_ready": In(1),
                "swap": Out(1),
                "x": Out(data.ArrayLayout(signed(config.element.bits), config.tn)),
                "x_valid": Out(1),
                "x_swap": Out(1),
                "update": Out(update_layout(config)),
                "retired": In(update_layout(config)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        unit = self.unit
        m.submodules.walk = walk = PixelWalk(self.config)
        pixel, waiting = walk.pixels.payload, walk.pixels.valid
        m.d.comb += [
            walk.instr.payload.eq(unit.instr.payload),
            walk.instr.valid.eq(unit.instr.valid & ~unit.halt),
            unit.instr.ready.eq(walk.instr.ready & ~unit.halt),
        ]

        update = Signal(update_layout(self.config))
        failed, allowed, issued = Signal(), Signal(), Signal()
        hazard = self._hazard(m, update) & ~pixel.lead
        m.d.comb += [
            failed.eq(waiting & (pixel.code != UnitError.NONE)),
            allowed.eq(waiting & ~failed & ~unit.halt & (~pixel.first | self.shadow_ready) & ~hazard),
            self.read.valid.eq(allowed & pixel.inside),
            self.read.addr.eq(pixel.address),
            issued.eq(allowed & (self.read.ready | ~pixel.inside)),
            update.valid.eq(issued & ~pixel.lead),
            update.overwrite.eq(pixel.overwrite),
            update.address.eq(pixel.acc),
            update.last.eq(pixel.last),
            # A failed pixel stays where it is, so that code and syndrome stay too.
            update.fail.eq(failed),
            walk.pixels.ready.eq(issued),
            self.swap.eq(issued & pixel.first),
            unit.stalled.eq(waiting & ~issued),
        ]
        self._to_array(m, pixel, update, issued)
        self._retire(m, pixel)
        return m

    def _hazard(self, m, update):
        """The pixel adds to a word that one of the last pixels has not yet written."""
        address, hits = update.address, []
        issued, valid = address, update.valid
        for d in range(1, Accumulators.UPDATE_CYCLES):
            before = issued, valid
            issued = Signal.like(address, name=f"issued_d{d}", reset_less=True)
            valid = Signal(name=f"issued_valid_d{d}")
            m.d.sync += [issued.eq(before[0]), valid.eq(before[1])]
            hits.append(valid & (issued == address))
        return Cat(hits).any() & ~update.overwrite

    def _to_array(self, m, pixel, update, issued):
        """Pixel, swap and update, ``ISSUE_CYCLES`` later: the buffer's read and a register."""
        swap, inside, padding, fold = self.swap, pixel.inside, pixel.zero_point, pixel.fold
        for d in range(1, READ_LATENCY + 1):
            stage = (
                Signal.like(update, name=f"update_d{d}"),
                Signal(name=f"swap_d{d}"),
                Signal(name=f"inside_d{d}", reset_less=True),
                Signal(8, name=f"padding_d{d}", reset_less=True),
                Signal(2, name=f"fold_d{d}", reset_less=True),
                Signal(name=f"pixel_d{d}"),
            )
            before = (update, swap, inside, padding, fold, issued)
            m.d.sync += [now.eq(then) for now, then in zip(stage, before, strict=True)]
            update, swap, inside, padding, fold, issued = stage
        x = Signal(self.config.word_bits, reset_less=True)
        word = Signal(self.config.word_bits)
        arrived, swapping = Signal.like(update), Signal()
        m.d.sync += [arrived.eq(update), swapping.eq(swap)]
        m.d.comb += word.eq(Mux(inside, self.read.data, padding.replicate(self.config.tn)))
        with m.If(issued):
            m.d.sync += x.eq(self._fold(m, word, fold, issued))
        m.d.comb += [
            self.x.eq(x),
            self.x_valid.eq(arrived.valid),
            self.x_swap.eq(swapping),
            self.update.eq(arrived),
        ]

    def _fold(self, m, word, fold, issued):
        """The lane groups of ``word``: the last as it is, each one before it as it was a pixel earlier."""
        lanes = self.config.tn
        delayed = [word]
        for d in range(1, 1 << MAX_FOLD):  # in 2**f groups, lanes from (2**f - d) * tn / 2**f on are never delayed by d
            kept = max(((1 << f) - d) * lanes >> f for f in range(MAX_FOLD + 1) if 1 << f > d)
            before = Signal(self.config.element.bits * kept, name=f"word_d{d}", reset_less=True)
            with m.If(issued):
                m.d.sync += before.eq(delayed[-1])
            delayed.append(before)
        result = delayed[0]
        for f in range(1, MAX_FOLD + 1):
            size = self.config.word_bits >> f
            groups = [delayed[(1 << f) - 1 - g][g * size : (g + 1) * size] for g in range(1 << f)]
            result = Mux(fold == f, Cat(groups), result)
        return result

    def _retire(self, m, pixel):
        unit = self.unit
        # Taken and not done: in preparation, in the loops, and one for each stage up to ``retired``, at most.
        count = Signal(range(32 + ceil_log2(self.config.tn)))
        error = Signal()
        with m.If(self.retired.fail):
            m.d.sync += error.eq(1)
        m.d.sync += count.eq(count + (unit.instr.valid & unit.instr.ready) - unit.done)
        m.d.comb += [
            unit.done.eq(self.retired.valid & self.retired.last),
            unit.busy.eq(count != 0),
            unit.error.valid.eq(error),
            unit.error.code.eq(Mux(error, pixel.code, UnitError.NONE)),
            unit.error.syndrome.eq(Mux(error, pixel.address[:32], 0)),
        ]


def model(instruction, act, weights, acc):
    """What a MATMUL instruction leaves in the accumulators.

    Parameters
    ----------
    instruction : dict of str to int
        Fields of the instruction's body, as ``encode`` takes them.
    act : ndarray of elements, shape (act_words, tn)
        Activation buffer.
    weights : ndarray of elements, shape (n_tiles * kh * kw, tm, tn)
        The sets that FEED loads for it.
    acc : ndarray int32, shape (acc_words, tm)
        Accumulators before the instruction; not changed.

    Returns
    -------
    ndarray int32, shape (acc_words, tm)

    Raises
    ------
    IndexError
        If a pixel or an accumulator lies outside its memory.
    """
    i = {"accumulate": 0, "zero_point": 0, "y0": 0, "x0": 0, "fold": 0, **instruction}
    y = i["y0"] + np.arange(i["rows"])[:, None] * i["stride_y"]
    groups = 1 << i["fold"]
    x = i["x0"] + np.arange(i["cols"] + groups - 1)[None, :] * i["stride_x"]
    words = slice(i["acc"], i["acc"] + i["rows"] * i["cols"])
    if words.stop > len(acc):
        raise IndexError(f"accumulators {words.start} to {words.stop - 1} of {len(acc)}")
    total = np.zeros((i["rows"] * i["cols"], acc.shape[1]), np.int64)
    passes = np.ndindex(i["n_tiles"], i["kh"], i["kw"])
    for (n, ky, kx), weight in zip(passes, weights, strict=True):
        iy, ix = np.broadcast_arrays(y + ky * i["dilation_y"], x + kx * i["dilation_x"])
        inside = (iy >= 0) & (iy < i["height"]) & (ix >= 0) & (ix < i["width"])
        pixels = np.full((*iy.shape, act.shape[1]), i["zero_point"], np.int64)
        pixels[inside] = act[(i["act"] + n * i["plane"] + iy * i["pitch"] + ix)[inside]]
        lanes = np.split(pixels, groups, axis=2)
        pixels = np.concatenate([lanes[g][:, g : g + i["cols"]] for g in range(groups)], axis=2)
        total += pixels.reshape(-1, act.shape[1]) @ weight.T.astype(np.int64)
    result = acc.copy()
    before = acc[words] if i["accumulate"] else 0
    result[words] = (before + total).astype(np.int32)  # modulo 2**32
    return result
