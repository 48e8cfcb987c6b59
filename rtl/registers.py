"""Register map of a node: the one definition that RTL, documentation and the C header share."""

from dataclasses import dataclass

from .config import BUS_ADDRESS_BITS, PAGE, NodeConfig
from .counters import COUNTER_BITS
from .isa import COUNTERS, Region, Unit

__all__ = [
    "ERROR_UNIT_FETCH",
    "ERROR_UNIT_LINK",
    "ERROR_UNIT_WATCHDOG",
    "IDENTITY",
    "VERSION",
    "Bits",
    "Register",
    "markdown",
    "region_settings",
    "registers",
]  # fmt: skip

IDENTITY = int.from_bytes(b"SLIP", "big")
VERSION = 0x0002_0000
"""Of the register map and the instruction formats: major << 16 | minor."""

ERROR_UNIT_FETCH, ERROR_UNIT_LINK, ERROR_UNIT_WATCHDOG = 6, 7, 8
"""What ERROR names as the unit, beside the units of the ISA."""


@dataclass(frozen=True)
class Bits:
    """A named part of a register."""

    name: str
    offset: int
    width: int
    doc: str


@dataclass(frozen=True)
class Register:
    """One 32-bit register.

    ``access`` is ``"rw"`` (the node reads what software writes; ``reset`` is its first value), ``"ro"``
    (software reads what the node does), ``"const"`` (software reads ``reset``) or ``"command"`` (a write
    is an event; reads as 0).
    """

    name: str
    offset: int
    access: str
    width: int
    doc: str
    reset: int = 0
    bits: tuple[Bits, ...] = ()


_HIGH_BITS = BUS_ADDRESS_BITS - 32
_HIGH = f"bits {BUS_ADDRESS_BITS - 1}:32"

_SIZES = (
    ("TM", "tm", "output channels of the PE array"),
    ("TN", "tn", "input channels of the PE array; bytes of a word"),
    ("ACT_WORDS", "act_words", "words of the activation buffer"),
    ("ACT_BANKS", "act_banks", "its banks"),
    ("WEIGHT_WORDS", "weight_words", "words of the weight buffer"),
    ("WEIGHT_BANKS", "weight_banks", "its banks"),
    ("ACC_WORDS", "acc_words", "words of the accumulator buffer"),
    ("AXI_PORTS", "axi_ports", "AXI4 ports to DRAM"),
    ("AXI_OUTSTANDING", "axi_outstanding", "bursts in flight on a port"),
    ("AXI_BURST_BEATS", "axi_burst_beats", "beats of the longest burst"),
    ("QUEUE_DEPTH", "queue_depth", "instructions queued in front of a unit"),
    ("LINK_BYTES", "link_bytes", "bytes of a link flit"),
    ("FRAME_WORDS", "frame_words", "words of the longest frame"),
    ("FRAME_SLOTS", "frame_slots", "frames that the receiver holds"),
    ("DEPTHWISE_ROWS", "depthwise_rows", "rows that VECTOR's DEPTHWISE goes down at once; 0: there is none"),
)

_CONTROL = (
    Bits("START", 0, 1, "run the program at PROGRAM, once a reset is over"),
    Bits(
        "RESET",
        1,
        1,
        "1: reset units, queues, counters, errors and link once the AXI ports are quiet; held until 0 is written",
    ),
)
_STATUS = (
    Bits("RUNNING", 0, 1, "a program runs; new starts are ignored"),
    Bits("DONE", 1, 1, "the last program is complete; cleared by START and RESET"),
    Bits("ERROR", 2, 1, "a part has failed (ERROR, SYNDROME): everything is halted until RESET"),
    Bits("RESETTING", 3, 1, "RESET is held, or the AXI ports are not quiet yet"),
)
_ERROR = (
    Bits("CODE", 0, 4, "UnitError"),
    Bits("UNIT", 8, 4, "Unit (0 to 5), 6 fetch, 7 link, 8 watchdog"),
)
_STATE = (
    Bits("TAG", 0, 16, "of the instruction in execution, or else of the next"),
    Bits("LACKING", 16, COUNTERS, "sources whose posts the next instruction lacks"),
    Bits("BUSY", 24, 1, "executes"),
    Bits("STALLED", 25, 1, "executes, without progress in this cycle"),
    Bits("WAITING", 26, 1, "has nothing to execute, and the next instruction lacks posts"),
)


def registers(config=None):
    """All registers, in order of offset.

    Parameters
    ----------
    config : NodeConfig, optional
        Gives values to the constants and reset values; offsets are the same for every node.
    """
    config = config or NodeConfig()
    return (*_control(config), *_sizes(config), *_units(), *_regions())


def _control(config):
    return (
        Register("ID", 0x000, "const", 32, "'SLIP'", IDENTITY),
        Register("VERSION", 0x004, "const", 32, "map and instructions, major << 16 | minor", VERSION),
        Register("CONTROL", 0x008, "command", 2, "commands", bits=_CONTROL),
        Register("STATUS", 0x00C, "ro", 4, "state of the node", bits=_STATUS),
        Register("PROGRAM_LO", 0x010, "rw", 32, "bytes from the base of its region, a multiple of 64; bits 31:0"),
        Register("PROGRAM_HI", 0x014, "rw", _HIGH_BITS, _HIGH),
        Register("STRIPE_LO", 0x018, "rw", 32, "byte distance of the stripes of DRAM ports, bits 31:0"),
        Register("STRIPE_HI", 0x01C, "rw", _HIGH_BITS, _HIGH),
        Register("NODE", 0x020, "rw", 8, "number of this node in the cluster: frames name it"),
        Register("WATCHDOG", 0x024, "rw", 32, "cycles without progress that make a run an error; 0: never",
                 config.watchdog_cycles),
        Register("ERROR", 0x030, "ro", 12, "first error since reset", bits=_ERROR),
        Register("SYNDROME", 0x034, "ro", 32, "what goes with the error code"),
        Register("CYCLES_LO", 0x038, "ro", 32, "cycles of the run, bits 31:0; steady when nothing runs"),
        Register("CYCLES_HI", 0x03C, "ro", 32, "bits 63:32"),
        Register("DRAM_READ_WORDS", 0x040, "ro", 32, "words read by LOAD in the run"),
        Register("DRAM_WRITE_WORDS", 0x044, "ro", 32, "words written by STORE in the run"),
        Register("LINK_TX_FLITS", 0x048, "ro", 32, "flits sent since reset"),
        Register("LINK_RX_FLITS", 0x04C, "ro", 32, "flits received since reset"),
        Register("LINK_ERRORS", 0x050, "ro", 32, "frames with a wrong CRC, or cut short, since reset"),
    )  # fmt: skip


def _sizes(config):
    sizes = [
        Register(f"SIZE_{name}", 0x080 + 4 * i, "const", 32, doc, getattr(config, attribute))
        for i, (name, attribute, doc) in enumerate(_SIZES)
    ]
    return *sizes, Register("SIZE_PACKED", 0x080 + 4 * len(_SIZES), "const", 32,
                            "1: two MACs in a DSP", int(config.mac == "packed"))  # fmt: skip


def _units():
    for unit in Unit:
        name, base = unit.name, 0x100 + 16 * unit
        yield Register(f"{name}_BUSY", base, "ro", 32, "cycles of the run in which it executed")
        yield Register(f"{name}_STALLED", base + 4, "ro", 32, "of these, cycles without progress")
        yield Register(
            f"{name}_WAITING",
            base + 8,
            "ro",
            32,
            "cycles in which it lacked posts and had nothing to execute",
        )
        yield Register(f"{name}_STATE", base + 12, "ro", 27, "now", bits=_STATE)
    for unit in Unit:
        for source in range(COUNTERS):
            poster = Unit(source).name if source < len(Unit) else f"remote {source}"
            yield Register(f"{unit.name}_COUNTER_{source}", 0x200 + 32 * unit + 4 * source, "ro",
                           COUNTER_BITS, f"posts of {poster} that {unit.name} has not taken")  # fmt: skip


def _regions():
    for region in Region:
        name, offset = region.name.lower(), 0x300 + 16 * region
        for what, at, doc in (
            ("BASE", offset, f"bus address of the {name} on port 0, a multiple of {PAGE}"),
            ("SIZE", offset + 8, f"bytes that each port has of the {name}, a multiple of {PAGE}; none beyond the bus"),
        ):
            yield Register(f"{region.name}_{what}_LO", at, "rw", 32, f"{doc}; bits 31:0")
            yield Register(f"{region.name}_{what}_HI", at + 4, "rw", _HIGH_BITS, _HIGH)


def region_settings(regions):
    """Register values, by name, for a mapping of Region to (base, size), both in bytes."""
    values = {}
    for region, places in regions.items():
        for what, value in zip(("BASE", "SIZE"), places, strict=True):
            if value % PAGE or not 0 <= value < 1 << BUS_ADDRESS_BITS:
                right = f"a multiple of {PAGE} below 2**{BUS_ADDRESS_BITS}"
                raise ValueError(f"{region.name}: its {what.lower()} must be {right}, not {value:#x}")
            values |= {f"{region.name}_{what}_LO": value & 0xFFFF_FFFF, f"{region.name}_{what}_HI": value >> 32}
    return values


def markdown(config=None):
    """The map as a Markdown table, bit fields below their register."""
    rows = ["| Offset | Name | Access | Reset | Meaning |", "|---|---|---|---|---|"]
    for r in registers(config):
        rows.append(f"| 0x{r.offset:03X} | {r.name} | {r.access} | {r.reset:#x} | {r.doc} |")
        for b in r.bits:
            place = f"{b.offset + b.width - 1}:{b.offset}" if b.width > 1 else str(b.offset)
            rows.append(f"| | {r.name}[{place}] | | | {b.name}: {b.doc} |")
    return "\n".join(rows) + "\n"
