"""The numbers in which a function's quantized result changes: beyond them, its operand may saturate."""

import numpy as np
from onnx import TensorProto

from superlip.graph.session import open_session

from .onnxtools import small_model
from .rewrite import Prepared
from .scales import LARGEST, Params
from .units import Unit

__all__ = ["reach_of"]

_SAMPLES = 8192
"""Of the range that was seen: 32 for each step that it would have."""


def reach_of(prepared: Prepared, unit: Unit, span: tuple[float, float], result: Params) -> tuple[float, float]:
    """The part of a range in which the quantized result of a function of one number changes.

    Hard swish is one number below -3, hard sigmoid outside -3 to 3: what is rounded to steps for them need not have
    steps there.

    Parameters
    ----------
    prepared : Prepared
        For the constants that the unit takes.
    unit : Unit
        With one source: ``Unit.is_function``.
    span : (low, high)
        Of what it takes.
    result : Params
        Of what it gives.

    Returns
    -------
    (low, high): all of ``span`` where the function is another one in each channel
    """
    constants = {name: prepared.consts[name] for n in unit.members for name in n.input if name in prepared.consts}
    if any(array.size != 1 for array in constants.values()):
        return span
    numbers = np.linspace(*span, _SAMPLES, dtype=np.float32)
    source = (unit.sources[0], TensorProto.FLOAT, [1, 1, 1, _SAMPLES])
    model = small_model(unit.members, [source], [unit.output], constants, prepared.opsets)
    session = open_session(model, is_optimized=False)
    values = session.run(None, {unit.sources[0]: numbers.reshape(1, 1, 1, -1)})[0].reshape(-1)
    steps = np.clip(np.rint(values / result.scale) + result.zero, 0, LARGEST)
    changes = np.flatnonzero(steps[1:] != steps[:-1])
    if not changes.size or np.isnan(values).any():
        return span
    low, high = float(numbers[changes[0]]), float(numbers[changes[-1] + 1])
    step = (high - low) / LARGEST  # the operand's ends are whole steps: they must lie beyond the last change
    return max(low - step, span[0]), min(high + step, span[1])
