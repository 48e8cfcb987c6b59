"""The loops of a MATMUL instruction: from its fields to one pixel a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from superlip.element import INT8

from .isa import FORMATS, MAX_FOLD, Opcode
from .parameters import Component, check_config
from .ports import UnitError, instruction_layout

__all__ = ["PIXEL_ADDRESS_BITS", "PixelWalk", "pixel_layout"]

PIXEL_ADDRESS_BITS = 33
"""The address of a pixel inside the source is below 2**20 + 2**12 * 2**20 + 2**12 * 2**12 + 2**12 < 2**33. Addresses
are exact modulo 2**33, so they are right for every such pixel, whatever they were for the padding before."""

_COORDINATE = signed(22)
"""A row or column is above -2**12 and below 2**12 + 2**12 * 2**8 + 2**8 * 2**8 < 2**21."""

_BODY = FORMATS[Opcode.MATMUL].layout

# The loops, from the inside.
_COLUMN, _ROW, _KX, _KY, _N = range(5)


def pixel_layout(config):
    """One step of the loops.

    ``code``
        NONE, or why there is no pixel here: ``address`` is the syndrome, and the rest means nothing.
    ``address``
        Word in the activation buffer, where ``inside``; otherwise all lanes are ``zero_point``.
    ``first``, ``last``
        First pixel of a pass, last one of the instruction.
    ``acc``, ``overwrite``
        Accumulator word, and whether it is overwritten.
    ``lead``
        Only read ahead for the lane groups of the columns that follow: nothing is accumulated.
    ``fold``
        Of the instruction.
    """
    return data.StructLayout(
        {
            "code": UnitError,
            "address": PIXEL_ADDRESS_BITS,
            "inside": 1,
            "zero_point": signed(INT8.bits),
            "first": 1,
            "last": 1,
            "acc": ceil_log2(config.acc_words),
            "overwrite": 1,
            "lead": 1,
            "fold": 2,
        }
    )


class PixelWalk(Component):
    """Runs the loops ``n, ky, kx, row, column`` of MATMUL instructions, one pixel a cycle, without gaps.

    With ``fold``, each row begins with (1 << fold) - 1 pixels in front of the ``cols``: see ``lead``.

    An instruction takes 3 cycles to prepare (products of its fields, once), which overlaps with the one
    before it: there is no gap between instructions of four pixels or more. Per pixel there are only adders.

    An instruction that can't run gives one item with a ``code`` other than NONE, after the pixels before the
    mistake, and then nothing more until reset. OPERAND: a count is zero (syndrome 0), ``acc + rows * cols``
    (syndrome) exceeds acc_words, or ``fold`` (syndrome) is too large; before any pixel. ADDRESS: the address that is
    outside the activation buffer.

    Reset drops the instruction in work.

    Parameters
    ----------
    config : NodeConfig

    Members
    -------
    instr : In(stream of instruction_layout(MATMUL))
    pixels : Out(stream of pixel_layout)
    """

    def __init__(self, config):
        check_config(config)
        self.act_words, self.acc_words = config.act_words, config.acc_words
        self.layout = pixel_layout(config)
        super().__init__(
            {
                "instr": In(stream.Signature(instruction_layout(Opcode.MATMUL))),
                "pixels": Out(stream.Signature(self.layout)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        load, job = Signal(), Signal(_job_layout())
        ready, prepared = self._prepare(m, load)
        with m.If(load):
            m.d.sync += job.eq(prepared)

        active, stopped = Signal(), Signal()
        advance, failed = Signal(), Signal()
        ends = self._count(m, load, advance, prepared, job)
        turns = [_all(ends[:level]) & ~ends[level] for level in range(_N + 1)]
        m.d.comb += [
            advance.eq(active & (~self.pixels.valid | self.pixels.ready)),
            load.eq(ready & ~stopped & (~active | (advance & _all(ends) & ~failed))),
        ]
        with m.If(load):
            m.d.sync += active.eq(1)
        with m.Elif(advance & (failed | _all(ends))):
            m.d.sync += [active.eq(0), stopped.eq(failed)]

        pixel = Signal(self.layout)
        self._positions(m, load, advance, turns, prepared, job, pixel)
        self._lead(m, load, advance, ends[_COLUMN], prepared.body, job.body, pixel)
        self._progress(m, load, advance, _all(ends[: _ROW + 1]), prepared.body, job.body, pixel)
        m.d.comb += [pixel.last.eq(_all(ends)), failed.eq(pixel.code != UnitError.NONE)]
        with m.If(advance):
            m.d.sync += [self.pixels.payload.eq(pixel), self.pixels.valid.eq(1)]
        with m.Elif(self.pixels.ready):
            m.d.sync += self.pixels.valid.eq(0)
        return m

    def _prepare(self, m, load):
        """Takes the next instruction and computes what the loops need of it; (ready, the prepared job)."""
        body = Signal(_BODY, name="next_body", reset_less=True)
        job = Signal(_job_layout(), name="next_job", reset_less=True)
        base = Signal(signed(28), reset_less=True)
        area = Signal(24, reset_less=True)
        empty, taken, multiplied, ready = range(4)
        step = Signal(range(4), init=empty)
        m.d.comb += self.instr.ready.eq(step == empty)
        with m.Switch(step):
            with m.Case(empty):
                m.d.sync += body.eq(self.instr.payload.body)
                with m.If(self.instr.valid):
                    m.d.sync += step.eq(taken)
            with m.Case(taken):
                m.d.sync += [
                    base.eq(body.y0 * body.pitch + body.x0),
                    area.eq(body.rows * body.cols),
                    job.columns.eq(body.cols + _ahead(body.fold)),
                    job.stride_pitch.eq(body.stride_y * body.pitch),
                    job.dilation_pitch.eq(body.dilation_y * body.pitch),
                    step.eq(multiplied),
                ]
            with m.Case(multiplied):
                end = body.acc + area
                zero = ~_all([body[name].any() for name in ("kh", "kw", "n_tiles", "rows", "cols")])
                deep, long = body.fold > MAX_FOLD, end > self.acc_words
                m.d.sync += [job.body.eq(body), job.refused.eq(zero | long | deep), step.eq(ready)]
                m.d.sync += job.start.eq(Mux(zero, 0, Mux(long, end, Mux(deep, body.fold, body.act + base))))
            with m.Case(ready), m.If(load):
                m.d.sync += step.eq(empty)
        return step == ready, job

    def _count(self, m, load, advance, prepared, job):
        """The loop counters, down to 1. Returns for each loop whether it is at its end."""
        names = ("columns", "rows", "kw", "kh", "n_tiles")
        starts = [prepared.columns, *(prepared.body[name] for name in names[1:])]
        again = [job.columns, *(job.body[name] for name in names[1:])]
        left = [
            Signal(len(start), name=f"{name}_left", reset_less=True) for name, start in zip(names, starts, strict=True)
        ]
        ends = [Signal(name=f"{name}_end") for name in names]
        m.d.comb += [end.eq(count == 1) for end, count in zip(ends, left, strict=True)]
        for level, count in enumerate(left):
            with m.If(load):
                m.d.sync += count.eq(starts[level])
            with m.Elif(advance & _all(ends[:level])):
                m.d.sync += count.eq(Mux(ends[level], again[level], count - 1))
        return ends

    def _lead(self, m, load, advance, row_ends, prepared, job, pixel):
        """Counts the pixels in front of each row."""
        left = Signal(range(1 << MAX_FOLD), name="lead_left", reset_less=True)
        with m.If(load):
            m.d.sync += left.eq(_ahead(prepared.fold))
        with m.Elif(advance & row_ends):
            m.d.sync += left.eq(_ahead(job.fold))
        with m.Elif(advance & left.any()):
            m.d.sync += left.eq(left - 1)
        m.d.comb += [pixel.lead.eq(left.any()), pixel.fold.eq(job.fold)]

    def _positions(self, m, load, advance, turns, prepared, job, pixel):
        """Address, source row and source column, and what follows from them."""
        body = job.body

        def counter(name, shape, start, steps):
            return _counter(m, name, shape, load=load, advance=advance, turns=turns, start=start, steps=steps)

        address = counter(
            "address",
            PIXEL_ADDRESS_BITS,
            prepared.start,
            {_COLUMN: body.stride_x, _ROW: job.stride_pitch, _KX: body.dilation_x, _KY: job.dilation_pitch,
             _N: body.plane},
        )  # fmt: skip
        y = counter("y", _COORDINATE, prepared.body.y0, {_ROW: body.stride_y, _KY: body.dilation_y})
        x = counter("x", _COORDINATE, prepared.body.x0, {_COLUMN: body.stride_x, _KX: body.dilation_x})
        m.d.comb += [
            # As unsigned numbers, so that negative ones are too large.
            pixel.inside.eq((y.as_unsigned() < body.height) & (x.as_unsigned() < body.width)),
            pixel.address.eq(address),
            pixel.zero_point.eq(body.zero_point),
        ]
        with m.If(job.refused):
            m.d.comb += pixel.code.eq(UnitError.OPERAND)
        with m.Elif(pixel.inside & (address >= self.act_words)):
            m.d.comb += pixel.code.eq(UnitError.ADDRESS)

    def _progress(self, m, load, advance, pass_ends, prepared, job, pixel):
        """Accumulator word and place in the pass."""
        first = Signal(reset_less=True)
        overwrite = Signal(reset_less=True)
        acc = Signal.like(pixel.acc, name="acc", reset_less=True)
        with m.If(load):
            m.d.sync += [first.eq(1), overwrite.eq(~prepared.accumulate), acc.eq(prepared.acc)]
        with m.Elif(advance):
            m.d.sync += [first.eq(pass_ends), acc.eq(acc + ~pixel.lead)]
            with m.If(pass_ends):
                m.d.sync += [overwrite.eq(0), acc.eq(job.acc)]
        m.d.comb += [pixel.first.eq(first), pixel.overwrite.eq(overwrite), pixel.acc.eq(acc)]


def _job_layout():
    """An instruction with what was computed from it; ``start`` is the syndrome if it is refused.

    ``columns``: pixels of a row, those in front of it included.
    """
    return data.StructLayout(
        {
            "body": _BODY,
            "start": PIXEL_ADDRESS_BITS,
            "stride_pitch": 20,
            "dilation_pitch": 20,
            "refused": 1,
            "columns": 13,
        }
    )


def _ahead(fold):
    """Pixels in front of a row: (1 << fold) - 1."""
    return ((1 << fold) - 1)[:MAX_FOLD]


def _all(conditions):
    return Cat(conditions).all()


def _counter(m, name, shape, *, load, advance, turns, start, steps):
    """A number that grows by ``steps[loop]`` with each turn of that loop, counted from where the loop began.

    Each loop that has a step, and the outermost, keeps the value with which its present turn began. A turn of a
    loop goes on from there, and all loops inside it begin anew at the result.
    """
    kept = {level: Signal(shape, name=f"{name}_{level}", reset_less=True) for level in sorted({*steps, _N})}
    with m.If(load):
        m.d.sync += [register.eq(start) for register in kept.values()]
    with m.Elif(advance):
        for turn, condition in enumerate(turns):
            source = min(level for level in kept if level >= turn)
            value = kept[source] + steps[source] if source in steps and source == turn else kept[source]
            with m.If(condition):
                m.d.sync += [register.eq(value) for level, register in kept.items() if level <= source]
    return kept[min(kept)]
