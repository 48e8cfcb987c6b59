"""Two nodes joined by links: a compiled convolution with shared weights, and with shared activations.

The Python models of ``superlip.sim.models`` carry the flits and serve DRAM and registers, exactly as the native
simulator does (``native/node.h``, ``native/cluster.cpp``). What was seen is written to ``cluster.npz`` in the run
folder, which tests/sim/test_cluster_equal.py compares with a native run of the same programs, cycle for cycle.
"""

import os
import re
from pathlib import Path

import cocotb
import numpy as np
from amaranth.hdl import Cat, ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

from superlip import golden
from superlip.boards import TARGETS
from superlip.compile.compiler import compile_network
from superlip.graph import ir
from superlip.plan.lower import lower
from superlip.plan.partition import Split
from superlip.plan.planner import make_plan
from superlip.rtl.config import ADDRESS_BITS
from superlip.rtl.registers import region_settings, registers
from superlip.run.verify import TraceChecker
from superlip.sim.build import TOP as NODE
from superlip.sim.build import node_text, top_ports
from superlip.sim.models import Address, Dram, HostBus, LinkThrottle, Wire, link_rate, timing
from superlip.sim.result import trace_dtype
from superlip.sim.runner import case
from superlip.sim.testbenches._streams import tick

CASES = {
    "weight_shared": {"split": "ROWS"},
    "ifm_shared": {"split": "CHANNELS"},
}

TARGET = TARGETS["tiny"]
BOARDS, IMAGES = 2, 2  # the second image finds what the first left behind
RESULT = "cluster.npz"
LIMIT = 50_000  # cycles of an image
_CONTROL = re.compile(r"valid$|ready$|irq$|trace_(status|done|taken)")


class Nodes(wiring.Component):
    """Nodes side by side; port P of node n is the member ``node__n__P``: the testbench is what joins them.

    ``control__n`` has all ``control_outputs`` of node n.

    All are instances of one module, the very Verilog that the native simulator runs.

    Parameters
    ----------
    verilog : str
        Of the node.
    boards : int
    """

    def __init__(self, verilog, boards=BOARDS):
        self.verilog, self.boards = verilog, boards
        self.ports = [port for port in top_ports(verilog) if port[0] not in ("clk", "rst")]
        directions = {"input": In, "output": Out}
        members = {
            f"node__{n}__{name}": directions[way](width) for n in range(boards) for name, way, width in self.ports
        }
        width = sum(width for name, _, width in self.ports if name in control_outputs(self.ports))
        super().__init__(members | {f"control__{n}": Out(width) for n in range(boards)})

    def elaborate(self, platform):
        m = Module()
        for n in range(self.boards):
            ports = {f"{way[0]}_{name}": getattr(self, f"node__{n}__{name}") for name, way, _ in self.ports}
            m.submodules[f"node_{n}"] = Instance(NODE, i_clk=ClockSignal(), i_rst=ResetSignal(), **ports)
            control = Cat(getattr(self, f"node__{n}__{name}") for name in control_outputs(self.ports))
            m.d.comb += getattr(self, f"control__{n}").eq(control)
        return m


def control_outputs(ports):
    """Names of the outputs that mean something in every cycle."""
    return [name for name, way, _ in ports if way == "output" and _CONTROL.search(name)]


def build(split):
    return Nodes(node_text(TARGET.node))


def workload(split, seed, *, channels=64, filters=72, boards=BOARDS):
    """What a case runs: graph, images (int8, shape (IMAGES, C, H, W)) and Compiled.

    One 3x3 convolution whose weights do not fit the buffer of a node that needs them all. Rows and channels divide
    unevenly, so that the nodes differ in time.
    """
    random = np.random.default_rng(seed)
    rows, cols = 5, 4
    image = ir.Value("image", (channels, rows, cols), 0.1, int(random.integers(-20, 20)))
    ofm = ir.Value("ofm", (filters, rows, cols), 0.1, int(random.integers(-20, 20)))
    weights = random.integers(-128, 128, (filters, channels, 3, 3)).astype(np.int8)
    bias = random.integers(-20000, 20000, filters) - image.zero_point * weights.sum(axis=(1, 2, 3), dtype=np.int64)
    conv = ir.Conv(
        name="conv", inputs=("image",), output="ofm", weights=weights, bias=bias.astype(np.int32),
        scale=random.uniform(0.0002, 0.001, filters).astype(np.float32), strides=(1, 1), pads=(1, 1, 1, 1),
        dilations=(1, 1), groups=1, low=-128, high=127, table=None,
    )  # fmt: skip
    graph = ir.Graph("conv", {"image": image, "ofm": ofm}, [conv], "image", ["ofm"], b"")
    images = random.integers(-128, 128, (IMAGES, channels, rows, cols)).astype(np.int8)
    network = lower(graph, TARGET.node.tn)
    plan = make_plan(network, TARGET, boards, split=Split[split])
    return graph, images, compile_network(network, plan, TARGET)


class Board:
    """One node with its DRAM, its ends of the links (or None) and its host, as ``native/node.h`` has it."""

    def __init__(self, dut, number, tx, rx):
        self.dut, self.number, self.tx, self.rx = dut, number, tx, rx
        config = TARGET.node
        self.contents = bytearray(TARGET.dram.megabytes << 20)
        self.dram = Dram(self.contents, timing(TARGET.dram, config), ports=config.axi_ports, axi_bytes=config.axi_bytes)
        self.throttle = LinkThrottle(link_rate(TARGET.link), config.link_bytes)
        self.host = HostBus()
        self.offsets = {r.name: r.offset for r in registers(config)}
        self.image, self.state, self.flits, self.trace = -1, "idle", 0, []
        self.started_at = self.finished_at = 0
        self._driven = {}

    def signal(self, name):
        return getattr(self.dut, f"node__{self.number}__{name}")

    def get(self, name):
        return int(self.signal(name).value)

    def put(self, name, value):
        """Drive what has changed only: it costs time."""
        if self._driven.get(name) != value:
            self._driven[name] = value
            self.signal(name).value = int(value)

    def silence(self):
        """During reset nothing is valid or ready."""
        self.put("link_tx__ready", 0)
        self.put("link_rx__valid", 0)
        for name in ("awvalid", "wvalid", "arvalid"):
            self.put(f"regs__{name}", 0)
        for p in range(TARGET.node.axi_ports):
            for name in ("read__{}__arready", "read__{}__rvalid", "write__{}__awready", "write__{}__wready",
                         "write__{}__bvalid"):  # fmt: skip
                self.put("dram_" + name.format(p), 0)

    def start(self, program, not_before):
        self.host.push(self.offsets["PROGRAM_LO"], program & 0xFFFF_FFFF)
        self.host.push(self.offsets["PROGRAM_HI"], program >> 32)
        self.host.push(self.offsets["CONTROL"], 1, not_before=not_before)
        self.state, self.started_at, self.finished_at = "starting", 0, 0

    def drive(self, t):
        """Inputs of cycle t."""
        for name in ("awvalid", "wvalid", "arvalid"):
            self.put(f"regs__{name}", getattr(self.host, name))
        self.put("regs__awaddr", self.host.address)
        self.put("regs__araddr", self.host.address)
        self.put("regs__wdata", self.host.data)
        for name, value in (("wstrb", 15), ("awprot", 0), ("arprot", 0), ("bready", 1), ("rready", 1)):
            self.put(f"regs__{name}", value)
        for p, port in enumerate(self.dram.ports):
            for name in ("arready", "rvalid", "rid", "rresp", "rlast"):
                self.put(f"dram_read__{p}__{name}", getattr(port, name))
            self.put(f"dram_read__{p}__rdata", int.from_bytes(port.rdata, "little"))
            for name in ("awready", "wready", "bvalid", "bid", "bresp"):
                self.put(f"dram_write__{p}__{name}", getattr(port, name))
        self.put("link_tx__ready", self.tx is not None and self.throttle.ready)
        flit = self.rx.pop(t) if self.rx is not None else None
        self.put("link_rx__valid", flit is not None)
        if flit is not None:
            self.put("link_rx__payload", flit)

    def sample(self, t):
        """Outputs of cycle t."""
        if not self.host.idle:
            for name in ("awready", "wready", "bvalid", "arready", "rvalid", "bresp", "rresp", "rdata"):
                setattr(self.host, name, self.get(f"regs__{name}"))
        self.host.step(t)
        for p, port in enumerate(self.dram.ports):
            self._sample_dram(p, port)
        self.dram.step(t)
        if self.throttle.step(self.tx is not None and self.get("link_tx__valid")):
            self.flits += 1
            self.tx.push(t, self.get("link_tx__payload"))
        self._watch(t, self.get("irq"))
        if (write := self.get("trace_write")) & 1:
            address, tag = write >> 1 & (1 << ADDRESS_BITS) - 1, write >> (1 + ADDRESS_BITS)
            mask = self.get("trace_mask").to_bytes(TARGET.node.tn // 8, "little")
            data = self.get("trace_data").to_bytes(TARGET.node.tn, "little")
            head = np.array([t], "<i8").tobytes() + np.array([self.image, address], "<i4").tobytes()
            self.trace.append(head + np.array([tag, self.number], "<u2").tobytes() + mask + data)

    def _sample_dram(self, p, port):
        for channel, a in (("read", "ar"), ("write", "aw")):
            address = Address()
            if self.get(f"dram_{channel}__{p}__{a}valid"):
                address = Address(
                    True, *(self.get(f"dram_{channel}__{p}__{a}{name}") for name in ("id", "addr", "len"))
                )
            setattr(port, a, address)
        port.rready = self.get(f"dram_read__{p}__rready")
        port.bready = self.get(f"dram_write__{p}__bready")
        port.wvalid = self.get(f"dram_write__{p}__wvalid")
        if port.wvalid:
            port.wlast = self.get(f"dram_write__{p}__wlast")
            port.wdata = self.get(f"dram_write__{p}__wdata").to_bytes(TARGET.node.axi_bytes, "little")
            port.wstrb = self.get(f"dram_write__{p}__wstrb")

    def _watch(self, t, irq):
        """irq still shows the end of the program before until the start command has taken effect."""
        if self.state == "starting" and self.host.idle and not irq:
            self.state, self.started_at = "running", self.host.written_at
        elif self.state == "running" and irq:
            self.state, self.finished_at = "finished", t


class Cluster:
    """All boards, and the order of events of ``native/cluster.cpp``: the host acts between quanta of cycles."""

    def __init__(self, dut, boards=BOARDS, board=Board):
        self.dut, self.cycle = dut, 0
        self.latency = TARGET.link.latency
        wires = [Wire(self.latency) for _ in range(boards)] if boards > 1 else [None]
        self.boards = [board(dut, n, wires[n], wires[n - 1]) for n in range(boards)]

    async def begin(self, images):
        """Reset, then write the registers that stay; ``images``: the DRAM of each board."""
        for board in self.boards:
            board.silence()
        self.dut.rst.value = 1
        cocotb.start_soon(Clock(self.dut.clk, 5, unit="ns").start())
        await tick(self.dut, 8)
        self.dut.rst.value = 0
        for board, image in zip(self.boards, images, strict=True):
            stripe = {"STRIPE_LO": image.stripe_bytes & 0xFFFF_FFFF, "STRIPE_HI": image.stripe_bytes >> 32}
            for name, value in {"NODE": board.number, **stripe, **region_settings(image.regions)}.items():
                board.host.push(board.offsets[name], value)
        await self.settle()

    async def quantum(self):
        for _ in range(self.latency):
            for board in self.boards:
                board.drive(self.cycle)
            await RisingEdge(self.dut.clk)  # reads give the values before it
            for board in self.boards:
                board.sample(self.cycle)
            self.cycle += 1

    async def settle(self):
        while not all(board.host.idle for board in self.boards):
            await self.quantum()

    async def run(self, image, programs):
        """Run the programs (of an image, or init: -1); returns the start and each node's end, in cycles."""
        start = self.cycle + self.latency * (1 + 64 // self.latency)
        for board, program in zip(self.boards, programs, strict=True):
            board.image = image
            board.start(program, start)
        finished = []
        while len(finished) < len(self.boards):
            assert self.cycle < start + LIMIT, [board.state for board in self.boards]
            await self.quantum()
            before, finished = finished, [board for board in self.boards if board.state == "finished"]
            if len(before) < len(finished) < len(self.boards):
                for board in finished:
                    await self.check(board)
        await self.settle()
        for board in self.boards:
            await self.check(board)
        return min(board.started_at for board in self.boards), [board.finished_at for board in self.boards]

    async def execute(self, compiled, images):
        """The init programs, then those of each image: by image what ``run`` gives, and the outputs' bytes."""
        for board, image in zip(self.boards, compiled.boards, strict=True):
            for offset, data in image.dram.extents:
                board.contents[offset : offset + len(data)] = bytes(data)
        await self.begin([image.dram for image in compiled.boards])
        runs, outputs = {}, []
        runs[-1] = await self.run(-1, [board.init_program for board in compiled.boards])
        for number, image in enumerate(images):
            for board, offset, data in compiled.input_writes(image):
                self.boards[board].contents[offset : offset + len(data)] = bytes(data)
            runs[number] = await self.run(number, [board.programs[0] for board in compiled.boards])
            outputs.append(
                [bytes(self.boards[n].contents[o : o + length]) for n, o, length in compiled.output_ranges()]
            )
        return runs, outputs

    async def check(self, board):
        """Ask for STATUS: the program must be done, without an error."""
        board.host.push(board.offsets["STATUS"])
        while not board.host.idle:
            await self.quantum()
        assert board.host.read[-1] == 2, f"node {board.number}: STATUS {board.host.read[-1]}"


@cocotb.test()
async def convolution(dut):
    """Every word that VECTOR writes, and the outputs, equal the golden; both nodes send."""
    graph, images, compiled = workload(case()["split"], int(os.environ["SUPERLIP_SEED"]))
    # Shared weights stream through the ring for every image; a half of the filters fits and stays.
    assert all(bool(board.weight_words) == (case()["split"] == "ROWS") for board in compiled.boards)
    cluster = Cluster(dut)
    runs, outputs = await cluster.execute(compiled, images)
    trace = np.frombuffer(
        b"".join(b"".join(board.trace) for board in cluster.boards), trace_dtype(TARGET.node.tn)
    ).copy()
    for number, (start, _) in runs.items():
        trace["cycle"][trace["image"] == number] -= start
    np.savez(
        RESULT,
        init_cycles=max(runs[-1][1]) - runs[-1][0],
        node_cycles=[[end - runs[i][0] for end in runs[i][1]] for i in range(IMAGES)],
        starts=[runs[i][0] for i in range(IMAGES)],
        trace=trace,
        outputs=[np.frombuffer(b"".join(parts), np.uint8) for parts in outputs],
        sent=[board.flits * TARGET.node.link_bytes for board in cluster.boards],
    )
    dut._log.info("start %s, init %s, seen in %s", runs[0][0], runs[-1], Path(RESULT).resolve())
    _check(graph, images, compiled, trace, outputs)
    assert all(board.flits for board in cluster.boards)


def _check(graph, images, compiled, trace, outputs):
    expected = golden.run(graph, images)
    checker = TraceChecker(compiled)
    comparison = checker.start()
    for number in range(IMAGES):
        values = {name: value[number] for name, value in expected.items()}
        checker.compare(number, trace[trace["image"] == number], values, comparison)
        np.testing.assert_array_equal(compiled.outputs(outputs[number])["ofm"], values["ofm"])
    assert comparison.total == 0, comparison.first
    assert comparison.values.sum() == expected["ofm"].size
