"""How a float model is to be quantized, as ``--quantize`` and ``load(quantize=...)`` say it."""

from dataclasses import dataclass, replace
from typing import Any

from superlip.graph.errors import ModelError

__all__ = ["CALIBRATIONS", "OptionError", "QuantizeOptions"]

CALIBRATIONS = {
    "minmax": "from the smallest value that was seen to the largest",
    "percentile": "without the outermost values: percentile=99.9 keeps that many percent between its ends",
    "entropy": "the range whose steps keep most of the distribution (least Kullback-Leibler divergence)",
    "mse": "the range whose steps make the least squared error",
    "auto": "the one of the others that does best on a quarter of the calibration images, which it was not made from",
}
"""Ways to choose the range of an activation."""
_SWITCHES = {"equalize": "equalize", "correct-bias": "correct_bias"}


class OptionError(ModelError):
    """A word of ``--quantize`` that is none, or a value that it can't have."""


@dataclass(frozen=True)
class QuantizeOptions:
    """What is done to quantize a float model.

    Parameters
    ----------
    calibration : str
        One of ``CALIBRATIONS``.
    percentile : float
        For ``percentile``: percent of the values that lie in the range, above 50 and at most 100.
    equalize : bool
        Move scales between layers, so that channels share their steps well (``equalize.py``).
    correct_bias : bool
        Take what rounding adds to the mean of a channel off its bias (``correct.py``).

    Raises
    ------
    OptionError
    """

    calibration: str = "minmax"
    percentile: float = 99.99
    equalize: bool = True
    correct_bias: bool = False

    def __post_init__(self):
        if self.calibration not in CALIBRATIONS:
            raise OptionError(f"{self.calibration!r} is no calibration: there are {', '.join(CALIBRATIONS)}")
        if not 50 < self.percentile <= 100:
            raise OptionError(f"percentile must be above 50 and at most 100, not {self.percentile:g}")

    @classmethod
    def of(cls, words: "str | QuantizeOptions | None") -> "QuantizeOptions":
        """Of words with commas between them, as in ``percentile=99.9,correct-bias,no-equalize``.

        Words are the names of ``CALIBRATIONS``, ``equalize`` and ``correct-bias``, or these two with ``no-`` in front.
        """
        if isinstance(words, QuantizeOptions):
            return words
        options = cls()
        given = set()
        for word in filter(None, (w.strip() for w in (words or "").split(","))):
            name, equals, value = word.partition("=")
            switch = _SWITCHES.get(name.removeprefix("no-"))
            what = switch or "calibration"
            if what in given:
                raise OptionError(f"{words!r} chooses {what.replace('_', ' ')} twice")
            given.add(what)
            if equals and name != "percentile":
                raise OptionError(f"{name!r} takes no value: {word!r}")
            if switch is not None:
                switched: dict[str, Any] = {switch: not name.startswith("no-")}
                options = replace(options, **switched)
            elif name in CALIBRATIONS:
                options = replace(options, calibration=name)
                if equals:
                    options = replace(options, percentile=_number(value, word))
            else:
                known = [*CALIBRATIONS, *_SWITCHES, *(f"no-{s}" for s in _SWITCHES)]
                raise OptionError(f"{word!r} is no way to quantize: there are {', '.join(known)}")
        return options


def _number(text, word):
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"percentile is a number, as in percentile=99.9, not {word!r}") from None
