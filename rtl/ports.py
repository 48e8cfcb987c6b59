"""Interfaces between the parts of a node: memory ports, AXI4, link flits, instructions, status, errors."""

import enum

from amaranth.hdl import unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out, Signature
from amaranth.utils import exact_log2

from .config import ADDRESS_BITS, BUS_ADDRESS_BITS, PAGE
from .isa import COUNTERS, FORMATS, HEADER, Opcode, Region

__all__ = [
    "READ_LATENCY", "ReadPort", "WritePort", "AXI4Read", "AXI4Write", "AXI4Lite", "flit_layout",
    "UnitError", "error_layout", "error_is", "region_layout", "regions_layout", "status_layout", "instruction_layout",
    "UnitInterface",
]  # fmt: skip

READ_LATENCY = 2
"""Cycles from an accepted buffer read (``valid & ready``) to the cycle in which its data is valid."""


class ReadPort(Signature):
    """A read requester of an on-chip buffer, seen from the requester.

    A read is accepted in a cycle with ``valid & ready``; its word is on ``data`` exactly READ_LATENCY cycles
    later, for one cycle, with ``data_valid``. ``ready`` may depend on ``valid`` and ``addr`` of all
    requesters in the same cycle, so a requester's ``valid`` and ``addr`` must not depend on ``ready``.
    ``addr`` must be inside the buffer: the requester checks.
    """

    def __init__(self, word_bits):
        super().__init__(
            {
                "valid": Out(1),
                "addr": Out(ADDRESS_BITS),
                "ready": In(1),
                "data": In(word_bits),
                "data_valid": In(1),
            }
        )


class WritePort(Signature):
    """A write requester of an on-chip buffer, seen from the requester.

    A word is written in a cycle with ``valid & ready``: the lanes (bytes) whose ``mask`` bit is set. Any read
    accepted in a later cycle sees it. ``ready`` as in ReadPort; ``addr`` must be inside the buffer.
    """

    def __init__(self, word_bits):
        super().__init__(
            {
                "valid": Out(1),
                "addr": Out(ADDRESS_BITS),
                "data": Out(word_bits),
                "mask": Out(word_bits // 8),
                "ready": In(1),
            }
        )


class AXI4Read(Signature):
    """AXI4 read channels, seen from the manager: INCR bursts of full beats, byte addresses."""

    def __init__(self, data_bytes, *, addr_bits=BUS_ADDRESS_BITS, id_bits=1):
        super().__init__(
            {
                "arvalid": Out(1), "arready": In(1), "arid": Out(id_bits), "araddr": Out(addr_bits),
                "arlen": Out(8), "arsize": Out(3), "arburst": Out(2),
                "rvalid": In(1), "rready": Out(1), "rid": In(id_bits), "rdata": In(8 * data_bytes),
                "rresp": In(2), "rlast": In(1),
            }
        )  # fmt: skip


class AXI4Write(Signature):
    """AXI4 write channels, seen from the manager: INCR bursts of full beats, byte addresses."""

    def __init__(self, data_bytes, *, addr_bits=BUS_ADDRESS_BITS, id_bits=1):
        super().__init__(
            {
                "awvalid": Out(1), "awready": In(1), "awid": Out(id_bits), "awaddr": Out(addr_bits),
                "awlen": Out(8), "awsize": Out(3), "awburst": Out(2),
                "wvalid": Out(1), "wready": In(1), "wdata": Out(8 * data_bytes), "wstrb": Out(data_bytes),
                "wlast": Out(1),
                "bvalid": In(1), "bready": Out(1), "bid": In(id_bits), "bresp": In(2),
            }
        )  # fmt: skip


class AXI4Lite(Signature):
    """AXI4-Lite with 32-bit data, seen from the manager (the node's registers are ``In(AXI4Lite())``)."""

    def __init__(self, *, addr_bits=12):
        super().__init__(
            {
                "awvalid": Out(1), "awready": In(1), "awaddr": Out(addr_bits), "awprot": Out(3),
                "wvalid": Out(1), "wready": In(1), "wdata": Out(32), "wstrb": Out(4),
                "bvalid": In(1), "bready": Out(1), "bresp": In(2),
                "arvalid": Out(1), "arready": In(1), "araddr": Out(addr_bits), "arprot": Out(3),
                "rvalid": In(1), "rready": Out(1), "rdata": In(32), "rresp": In(2),
            }
        )  # fmt: skip


def flit_layout(link_bytes):
    """What crosses a link in one cycle: ``link_bytes`` bytes, marked where a frame begins and ends."""
    return data.StructLayout({"data": 8 * link_bytes, "first": 1, "last": 1})


class UnitError(enum.IntEnum):
    """Why a unit stopped (register ERROR); the syndrome holds what the comment says."""

    NONE = 0
    ADDRESS = 1  # on-chip address outside its memory: the address
    OPERAND = 2  # a field that makes no sense (a zero count, ...): the value
    AXI_READ = 3  # RRESP not OKAY: the port and the response
    AXI_WRITE = 4  # BRESP not OKAY: the port and the response
    COUNTER = 5  # a synchronisation counter overflowed: unit and source
    OPCODE = 6  # unknown opcode: its value
    WATCHDOG = 7  # no progress: the unit that waits (low 8 bits) and the mask of sources it lacks (next 8)
    FRAME = 8  # a frame that is intact but wrong (node, memory, length): the header's field
    LINK = 9  # a frame with a wrong CRC, or cut short: frames lost so far
    CREDIT = 10  # the other side sent more than its credits allow: slots in use
    REGION = 11  # a DRAM address outside its region: bits 43:12 of the bus address behind the words that were wanted


def error_layout():
    """Error of a unit: held from the cycle it occurs until reset."""
    return data.StructLayout({"valid": 1, "code": 4, "syndrome": 32})


def error_is(error, code, syndrome):
    """Assignments (for ``sync``) with which an error occurs."""
    return [error.valid.eq(1), error.code.eq(code), error.syndrome.eq(syndrome)]


def region_layout():
    """A region of DRAM on port 0, in pages: the first, and the one behind the last."""
    bits = BUS_ADDRESS_BITS - exact_log2(PAGE)
    return data.StructLayout({"base": bits, "end": bits + 1})


def regions_layout():
    """All of a board; constant while a unit is busy."""
    return data.ArrayLayout(region_layout(), len(Region))


def status_layout():
    """What a unit does, for counters and traces."""
    return data.StructLayout({"busy": 1, "stalled": 1, "waiting": 1, "lacking": COUNTERS, "tag": 16})


def instruction_layout(opcode: Opcode):
    """Header and body of one opcode, as the unit sees them."""
    return data.StructLayout({"header": HEADER.layout, "body": FORMATS[opcode].layout})


class UnitInterface(Signature):
    """What every unit has, seen from the unit.

    ``instr``
        Instructions whose waits are over, in order. A unit may take the next one while it still works on the one
        before.
    ``done``
        High for one cycle for each instruction, in order, when everything that it writes can be read from the next
        cycle on, and everything that it reads has been read.
    ``busy``
        An instruction has been taken and is not done.
    ``stalled``
        Busy, but no progress this cycle (memory port not granted, data not there, ...).
    ``error``
        Held once set. The unit has stopped: it writes nothing more and never raises ``done`` again until reset.
    ``halt``
        Another part of the node failed: start no new write; may freeze.
    """

    def __init__(self, opcode: Opcode):
        super().__init__(
            {
                "instr": In(stream.Signature(instruction_layout(opcode))),
                "done": Out(unsigned(1)),
                "busy": Out(1),
                "stalled": Out(1),
                "error": Out(error_layout()),
                "halt": In(1),
            }
        )
