"""Nodes that stay on the host: small ONNX models around tensors of elements."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from superlip.graph import ir
from superlip.graph.session import open_session

from .spec import OpSpec, Tensor, register

__all__ = ["HostSpec"]


@functools.lru_cache(maxsize=64)
def _session(model: bytes) -> Any:
    return open_session(model, is_optimized=False)  # as written: fused integer kernels round elsewhere


@register(ir.Host)
class HostSpec(OpSpec[ir.Host]):
    """A node that ONNX Runtime runs; its model takes tensors (1, C, H, W) and gives one tensor (1, C, H, W)."""

    def on_host(self, values: dict[str, ir.Value]) -> ir.Host | None:
        return self.node

    def compute(self, inputs: Sequence[Tensor], sources: Sequence[ir.Value], result: ir.Value) -> Tensor:
        session = _session(self.node.model)
        names = [i.name for i in session.get_inputs()]
        images = [
            session.run(None, {name: x[i : i + 1] for name, x in zip(names, inputs, strict=True)})[0]
            for i in range(len(inputs[0]))
        ]
        return np.concatenate(images)
