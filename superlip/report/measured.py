"""A simulated run with what is said of it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from superlip.compile.design import Design
from superlip.run.simulate import compare
from superlip.run.verify import Comparison
from superlip.sim.result import RunResult

from .rows import LayerRow, layer_rows

__all__ = ["Measured", "measure"]


@dataclass(frozen=True, eq=False)
class Measured:
    """One cluster's run.

    Parameters
    ----------
    result : superlip.sim.result.RunResult
    comparison : superlip.run.verify.Comparison
        Of every word with the golden.
    outputs : dict of str to ndarray of elements, shape (B, C, H, W)
    layers : list of LayerRow
    finding : superlip.diagnose.bisect.Finding, optional
        What differs first, if anything does.
    """

    result: RunResult
    comparison: Comparison
    outputs: dict[str, np.ndarray]
    layers: list[LayerRow]
    finding: object = None


def measure(design: Design, result: RunResult, expected: Mapping[str, np.ndarray]) -> Measured:
    """Compare a run that ended well with the golden (``expected``, of all its images): Measured, without a finding."""
    simulated = compare(design, result, expected)
    rows = layer_rows(design, result, simulated.comparison)
    return Measured(result, simulated.comparison, simulated.outputs, rows)
