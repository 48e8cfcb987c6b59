"""trial"""
import cocotb
from amaranth.lib import data, stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.hdl import Module
from amaranth.lib.wiring import Component, In, Out
from superlip.sim.runner import case, rng
from superlip.sim.benches._streams import Source, Sink, start, tick
CASES = {"w8": {"width": 8}, "w70": {"width": 70}}
class Q(Component):
    def __init__(self, width):
        self.width=width
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(width))})
    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = f = SyncFIFO(width=self.width, depth=4)
        m.d.comb += [f.w_data.eq(self.i.payload), f.w_en.eq(self.i.valid), self.i.ready.eq(f.w_rdy), self.o.payload.eq(f.r_data), self.o.valid.eq(f.r_rdy), f.r_en.eq(self.o.ready)]
        return m
def build(width): return Q(width)
@cocotb.test()
async def passes(dut):
    r = rng()
    src=Source(dut,"i",rng=r,idle=.3); snk=Sink(dut,"o",rng=r,stall=.3)
    await start(dut)
    cocotb.start_soon(snk.run())
    items=[r.getrandbits(case()["width"]) for _ in range(500)]
    await src.send(items)
    await tick(dut,50)
    assert snk.items==items
