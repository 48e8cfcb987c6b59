"""Models with nodes that only the host can run: they run there, as the model has them, and ``check`` says why."""

import re

import numpy as np

import superlip
from superlip import graph


def runs_on_host(model, node, why, images, *, error=0.04):
    """Load a model, and hold its outputs against ONNX Runtime's; ``error`` is of an output's range.

    Returns
    -------
    ir.Graph
    """
    rows = {row.node: row for row in graph.check(model, calibrate=images)}
    assert rows[node].verdict == "host" and re.search(why, rows[node].why), rows[node]
    assert "unsupported" not in {row.verdict for row in rows.values()}
    loaded = graph.load(model, calibrate=images)
    ours, theirs = superlip.predict(loaded, images), loaded.given.run(images)
    for name, wanted in theirs.items():
        span = max(float(np.ptp(wanted.astype(np.float64))), 1e-9)
        difference = np.abs(ours[name].astype(np.float64).reshape(wanted.shape) - wanted).max()
        assert difference <= error * span, (name, difference / span)
    return loaded
