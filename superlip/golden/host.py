"""Nodes that stay on the host: small ONNX models around int8 tensors."""

import functools

import numpy as np

from superlip.graph.session import open_session

__all__ = ["run_host"]


@functools.lru_cache(maxsize=64)
def _session(model):
    return open_session(model, is_optimized=False)  # as written: fused integer kernels round elsewhere


def run_host(node, inputs):
    """Run a Host node.

    Parameters
    ----------
    node : ir.Host
        Its model takes int8 tensors (1, C, H, W), one an input, and gives one tensor (1, C, H, W).
    inputs : list of ndarray int8, shape (B, C, H, W)

    Returns
    -------
    ndarray, shape (B, C, H, W): int8, or what the model gives where the output is a host value
    """
    session = _session(node.model)
    names = [i.name for i in session.get_inputs()]
    images = [
        session.run(None, {name: x[i : i + 1] for name, x in zip(names, inputs, strict=True)})[0]
        for i in range(len(inputs[0]))
    ]
    return np.concatenate(images)
