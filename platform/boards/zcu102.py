"""AMD's ZCU102 board: a Zynq UltraScale+ XCZU9EG with 64-bit DDR4 and four SFP+ cages."""

from superlip.rtl.config import NodeConfig

from .types import XCZU9EG, Dram, Link, Target

__all__ = ["ZCU102"]

ZCU102 = Target(
    name="zcu102",
    node=NodeConfig(
        tm=64, tn=64, act_words=32768, act_banks=8, weight_words=12288, weight_banks=3, acc_words=2048,
        depthwise_rows=32, axi_ports=4, axi_outstanding=8, axi_burst_beats=256, link_bytes=32, frame_words=32,
        frame_slots=8, watchdog_cycles=1_000_000,
    ),
    # Four 128-bit HP ports at 200 MHz.
    dram=Dram(bytes_per_cycle=64.0, latency=60, burst_overhead=2.0, megabytes=512),
    # Four lanes of 10.3125 Gb/s behind 64b/66b.
    link=Link(bytes_per_cycle=25.0, latency=60),
    resources=XCZU9EG,
)  # fmt: skip
