"""The published performance model of multi-FPGA CNN inference, and its exhaustive search.

*Achieving Super-Linear Speedup across Multi-FPGA for Real-Time DNN Inference* (Super-LIP), ACM TECS 18(5s), 2019: how
many cycles a convolution takes on boards of the published kind, what that takes of their FPGAs, and which design and
partition are best. It describes other hardware than superlip's node, and nothing here decides what superlip does: it is
what superlip's plans (``plan/cost.py``) are held against, and a tool to explore partitions with (docs/paper.md).

>>> from superlip.plan.paper import ZCU102, Layer, search
>>> layer = Layer(m=128, n=192, r=13, c=13, k=3)  # AlexNet's fifth, one of its two groups
>>> one, two = (search([layer], ZCU102, boards, tr=13, tc=13) for boards in (1, 2))
>>> print(one)
<32, 15, 13, 13> on one board: 79,092 cycles, 2,400 DSP, 1,054 BRAM18
>>> one.times[0].bound
'compute'
"""

from .exhaustive import Found, search, search_each
from .layers import layers_of
from .model import (
    LayerTime,
    Usage,
    bram18,
    compute_cycles,
    dsp,
    ifm_cycles,
    latency,
    ofm_cycles,
    trips,
    usage,
    weight_bram18,
    weight_cycles,
)
from .shapes import (
    FIXED16,
    FLOAT32,
    ONE_BOARD,
    ZCU102,
    Design,
    Fpga,
    Layer,
    PaperError,
    Partition,
    Precision,
    Rates,
    partitions,
)

__all__ = [
    "FIXED16", "FLOAT32", "ONE_BOARD", "ZCU102", "Design", "Found", "Fpga", "Layer", "LayerTime", "PaperError",
    "Partition", "Precision", "Rates", "Usage", "bram18", "compute_cycles", "dsp", "ifm_cycles", "latency",
    "layers_of", "ofm_cycles", "partitions", "search", "search_each", "trips", "usage", "weight_bram18",
    "weight_cycles",
]  # fmt: skip
