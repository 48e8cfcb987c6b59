"""C++ in place of a node's data paths, for speed: PE array, accumulators, buffers, and VECTOR's lanes.

The components of ``superlip.rtl`` ask their platform for these (``PEArray``: ``get_pe_array``, and so on).
``StandIns`` is such a platform: it puts an instance of a module of ``native/stand_ins.sv`` there, whose work
``native/stand_ins.cpp`` does. Handshakes, valid bits and all else that a reset resets stay RTL. A stand-in has the
RTL's latency to the cycle and its bits; what the RTL's contract leaves open (data without its valid, parameters that
change under a value, what is inside at a soft reset) may differ. That this is so is tested by the testbenches of the
components, which run with the stand-ins as well, and by whole runs of nodes with and without them.
"""

from pathlib import Path
from typing import Any

from amaranth.hdl import Cat, ClockSignal, Instance, Signal

__all__ = ["StandIns"]

_NATIVE = Path(__file__).with_name("native")


class StandIns:
    """A platform for ``to_verilog``; one for each design.

    Afterwards ``sources`` are the files that Verilator needs beside the design, ``headers`` what they include, and
    ``definitions`` the macros of both languages.
    """

    sources = (_NATIVE / "stand_ins.sv", _NATIVE / "stand_ins.cpp")
    headers = tuple(sorted(_NATIVE.glob("*.h")))

    def __init__(self):
        self._channels = {}

    @property
    def definitions(self) -> dict[str, Any]:
        """Macros, name to value: the channels that the stand-ins are made for; known when the design is elaborated."""
        return {name: self._channels.get(name, 8) for name in ("SUPERLIP_TM", "SUPERLIP_TN")}

    def _use(self, component, **channels):
        for name, count in channels.items():
            if self._channels.setdefault(f"SUPERLIP_{name.upper()}", count) != count:
                raise ValueError(
                    f"{type(component).__name__} has {name} = {count}, another component of the design has "
                    f"{self._channels[f'SUPERLIP_{name.upper()}']}: stand-ins are for one number of channels"
                )

    def get_pe_array(self, array: Any, m: Any, *, ready: Any) -> None:
        """``ready``: ``psum`` of the oldest x is due in the next cycle."""
        self._use(array, tm=array.tm, tn=array.tn)
        m.submodules.stand_in = Instance(
            "superlip_pe_array_stand_in",
            p_COLUMNS=array.columns,
            i_clk=ClockSignal(), i_clear=_clear(m), i_ready=ready,
            i_x=array.x.as_value(), i_x_valid=array.x_valid, i_x_swap=array.x_swap,
            i_w_valid=array.w_valid, i_w_column=_wide(m, array.w_column, 16), i_w_data=array.w_data.as_value(),
            o_psum=array.psum.as_value(),
        )  # fmt: skip

    def get_memory_banks(self, memory: Any, m: Any, *, fetched: Any) -> None:
        """``fetched``: for each reader, a read was accepted one cycle ago."""
        self._use(memory, tn=memory.lanes)
        reads, writes = list(memory.read), list(memory.write)
        data = Signal(8 * memory.lanes * len(reads))
        m.d.comb += [port.data.eq(data.word_select(n, 8 * memory.lanes)) for n, port in enumerate(reads)]
        m.submodules.stand_in = Instance(
            "superlip_banks_stand_in",
            p_WORDS=memory.words, p_READERS=len(reads), p_WRITERS=len(writes), p_ADDRESS=len(reads[0].addr),
            i_clk=ClockSignal(),
            i_read=Cat(port.valid & port.ready for port in reads), i_fetched=Cat(fetched),
            i_read_address=Cat(port.addr for port in reads), o_read_data=data,
            i_write=Cat(port.valid & port.ready for port in writes),
            i_write_address=Cat(port.addr for port in writes),
            i_write_data=Cat(port.data for port in writes), i_write_mask=Cat(port.mask for port in writes),
        )  # fmt: skip

    def get_accumulator_banks(
        self, accumulators: Any, m: Any, *, fetches: Any, fetch: Any, arrive: Any, write: Any, accepted: Any
    ) -> None:
        """``fetches``: ``fetch`` reads; ``arrive``, ``write``: later stages; ``accepted[0]``: a read one cycle ago."""
        self._use(accumulators, tm=accumulators.lanes)
        read = accumulators.read
        top = fetch.address.shape().width - 1
        select = read.addr[top]
        fetched_by_update = Cat(fetches & ~fetch.address[-1], fetches & fetch.address[-1])
        selected = Cat(read.valid & ~select, read.valid & select) & ~fetched_by_update
        fetched, half = Signal(2), Signal(reset_less=True)
        m.d.sync += [fetched.eq(fetched_by_update | selected), half.eq(select)]
        m.submodules.stand_in = Instance(
            "superlip_accumulators_stand_in",
            p_WORDS=accumulators.words,
            i_clk=ClockSignal(),
            i_fetch=fetched_by_update, i_fetch_address=_wide(m, fetch.address, 16),
            i_read_only=selected, i_read_address=_wide(m, read.addr[: top + 1], 16), i_fetched=fetched,
            i_psum_valid=accumulators.psum_valid, i_half=arrive.address[-1], i_overwrite=arrive.overwrite,
            i_psum=accumulators.psum.as_value(),
            i_store=write.valid, i_store_address=_wide(m, write.address, 16),
            i_show=accepted[0], i_show_half=half, o_data=read.data,
        )  # fmt: skip

    def get_vector_datapath(self, datapath: Any, m: Any, *, ready: Any) -> None:
        """``ready``: the oldest result is due in the next cycle."""
        self._use(datapath, tm=datapath.config.tm, tn=datapath.config.tn)
        step = datapath.step
        names = ("present", "second", "first", "last", "use_table", "op", "shift", "lane_max")
        flags = {f"i_{name}": step[name] for name in names}
        m.submodules.stand_in = Instance(
            "superlip_vector_stand_in",
            i_clk=ClockSignal(), i_clear=_clear(m), i_valid=datapath.valid,
            i_act=datapath.act, i_acc=datapath.acc, **flags,
            i_row_number=_wide(m, step.row, 8), i_zp=step.zp, i_zp_out=step.zp_out, i_low=step.low, i_high=step.high,
            i_params_valid=datapath.params.valid, i_params_index=_wide(m, datapath.params.index, 8),
            i_row_valid=datapath.row_valid, i_row_index=_wide(m, datapath.row_index, 8), i_row=datapath.row,
            i_ready=ready, o_o=datapath.o,
        )  # fmt: skip


def _clear(m):
    """High in the first cycle after a reset, of whatever kind: an Instance would not see a ResetInserter's."""
    awake = Signal()
    m.d.sync += awake.eq(1)
    return ~awake


def _wide(m, value, width):
    wide = Signal(width)
    m.d.comb += wide.eq(value)
    return wide
