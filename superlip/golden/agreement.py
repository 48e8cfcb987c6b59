"""How far the outputs of the quantized network are from those of the model as the user gave it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from superlip.graph import ir
from superlip.graph.given import Given

from .loss import Loss, find_loss
from .predict import own_outputs
from .run import own_numbers, quantize_input, run

__all__ = ["AccuracyError", "Agreement", "OutputAgreement", "agree", "agreement_of", "decibels"]

WARN_DB, FAIL_DB = 20.0, 10.0
"""Signal to error of an output. Healthy 8-bit networks have 30 to 40 dB."""
WARN_CLASS, FAIL_CLASS = 0.95, 0.80
"""Share of images that a classifier must put in the same class as the model as given does."""
BEST_DB = 120.0
"""What an output without any error is said to have."""
_CLASSES = 10
"""An output vector of that many numbers is taken for class scores, also without labels and without Softmax."""
_EXAMINED = 4
"""Images on which the layer that loses accuracy is looked for."""


class AccuracyError(ValueError):
    """The quantized network does not do what the model as given does; the message says where and why."""

    exit_status = 1  # of the command: the answer is no


def decibels(signal: NDArray, error: NDArray) -> float:
    """20 log10 of root mean squares, within +-BEST_DB."""
    of_signal, of_error = (math.sqrt(float(np.mean(np.square(a, dtype=np.float64)))) for a in (signal, error))
    if of_error == 0:
        return BEST_DB
    return max(-BEST_DB, min(BEST_DB, 20 * math.log10(max(of_signal, 1e-300) / of_error)))


@dataclass(frozen=True)
class OutputAgreement:
    """One output against the model as given.

    Parameters
    ----------
    name : str
        As the model calls it.
    values : int
        Compared, of all images.
    decibels : float
        Signal to error, over all images.
    differing : int
        Values at least half a step off: those that differ, where the output is quantized.
    largest, largest_steps : float
        Largest error in the output's unit, and in steps of it.
    step : float
        The output's scale; of what the host computes in floating point, a 255th of its range.
    """

    name: str
    values: int
    decibels: float
    differing: int
    largest: float
    largest_steps: float
    step: float

    def __str__(self):
        if not self.differing:
            return f"{self.name}: all of {self.values:,} values equal, within half a step"
        return (
            f"{self.name}: {self.decibels:.1f} dB of signal to error, {self.differing:,} of {self.values:,} values off "
            f"by half a step or more, the largest by {self.largest:.3g} ({self.largest_steps:.1f} steps)"
        )


@dataclass(frozen=True)
class Agreement:
    """The quantized network against the model as the user gave it, on some images.

    Parameters
    ----------
    source : str
        Which images.
    images : int
    kind : str
        Of the model: ``float``, ``Q/DQ`` or ``QOperator``.
    outputs : list of OutputAgreement
    same_class : float or None
        Share of images whose largest output is the same; None where the first output is no vector of classes.
    accuracy, accuracy_given : float or None
        Of the quantized network and of the model as given, where there are labels.
    has_random_weights : bool
        Then classes mean nothing, ``decibels`` are judged alone, and nothing is refused.
    loss : Loss or None
        Where the accuracy is lost, if it is.
    """

    source: str
    images: int
    kind: str
    outputs: list[OutputAgreement]
    same_class: float | None = None
    accuracy: float | None = None
    accuracy_given: float | None = None
    has_random_weights: bool = False
    loss: Loss | None = None

    @property
    def decibels(self) -> float:
        """Of the worst output."""
        return min(output.decibels for output in self.outputs)

    @property
    def is_poor(self) -> bool:
        """Below what a user should take without a look: under 20 dB, or under 95 % in the same class."""
        return self.decibels < WARN_DB or self._differs_in_class(WARN_CLASS, 1)

    @property
    def is_useless(self) -> bool:
        """Under 10 dB, or under 80 % (two images at least) in the same class; never so with made-up weights.

        Those are ours, not the user's: whatever they compute, a Softmax of it may be anything.
        """
        if self.has_random_weights:
            return False
        return self.decibels < FAIL_DB or self._differs_in_class(FAIL_CLASS, 2)

    def _differs_in_class(self, share: float, least: int) -> bool:
        if self.same_class is None or self.has_random_weights:
            return False
        return self.same_class < share and round(self.images * (1 - self.same_class)) >= least

    @property
    def warning(self) -> str | None:
        """One line for a user where ``is_poor``, else None."""
        if not self.is_poor:
            return None
        what = f"{self.decibels:.1f} dB of signal to error"
        if self.same_class is not None and not self.has_random_weights:
            what += f", same class for {100 * self.same_class:.0f} % of the images"
        why = f"; {self.loss}" if self.loss else ""
        return f"the quantized network is far from the {self.kind} model as given ({self.source}): {what}{why}"

    def require(self, hints: Sequence[str] = ()) -> None:
        """Raise AccuracyError where ``is_useless``; ``hints`` are sentences on the images, which may be the reason."""
        if self.is_useless:
            why = ". ".join([str(self.warning), *hints])
            raise AccuracyError(
                f"{why}. Give calibration images like those that the network will see, or accept this "
                f"(--accept-accuracy, accept_accuracy=True)"
            )

    def lines(self) -> list[str]:
        """For a report: what was compared with what, one line an output, one for classes."""
        images = f"{self.images} image{'s' if self.images > 1 else ''}"
        where = self.source if str(self.images) in self.source else f"{images}, {self.source}"
        lines = [f"against the {self.kind} model as given, run by ONNX Runtime ({where}):"]
        lines += [f"  {output}" for output in self.outputs]
        if self.same_class is not None:
            lines.append(f"  same class for {100 * self.same_class:.2f} % of {images}")
        if self.accuracy is not None and self.accuracy_given is not None:
            given = f"model as given: {100 * self.accuracy_given:.2f} %"
            lines.append(f"  accuracy {100 * self.accuracy:.2f} % of {images} ({given})")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields, and what follows from them."""
        return asdict(self) | {"decibels": self.decibels, "is_poor": self.is_poor, "is_useless": self.is_useless}


def agree(
    graph: ir.Graph,
    images: ArrayLike,
    *,
    results: Mapping[str, NDArray] | None = None,
    labels: NDArray | None = None,
    source: str = "images",
) -> Agreement | None:
    """Compare the golden with the model as given.

    Parameters
    ----------
    graph : ir.Graph
    images : ndarray, shape (B, ...)
        As the model takes them.
    results : dict of str to ndarray, optional
        What ``golden.run`` gave for them.
    labels : ndarray int, shape (B,), optional
    source : str
        What the images are, for people.

    Returns
    -------
    Agreement, or None where the graph was made from no model

    Raises
    ------
    superlip.graph.given.GivenError
        If ONNX Runtime can't run the model as given.
    """
    if graph.given is None:
        return None
    quantized = quantize_input(graph, images)
    results = run(graph, quantized) if results is None else results
    numbers = own_numbers(graph, images, quantized) if graph.front is None else graph.front.own(images)
    agreement = agreement_of(graph, own_outputs(graph, results), graph.given.run(numbers), labels=labels, source=source)
    if not agreement.is_poor:
        return agreement
    worst = min(agreement.outputs, key=lambda output: output.decibels).name
    few = slice(0, _EXAMINED)
    loss = find_loss(graph, worst, numbers[few], {name: array[few] for name, array in results.items()}, decibels)
    return replace(agreement, loss=loss)


def agreement_of(
    graph: ir.Graph,
    ours: Mapping[str, NDArray],
    theirs: Mapping[str, NDArray],
    *,
    labels: NDArray | None = None,
    source: str = "images",
) -> Agreement:
    """Compare some outputs with those of the model as given.

    Parameters
    ----------
    graph : ir.Graph
        What is known of the outputs: their scales, and which are integers.
    ours, theirs : dict of str to ndarray, shape (B, ...)
        By the model's output names.
    labels, source
        As for ``agree``.

    Returns
    -------
    Agreement
    """
    given = graph.given
    if given is None:
        raise ValueError(f"{graph.name} was made from no model that it could be compared with")
    outputs, reals = [], []
    for name, tensor in zip(graph.outputs, graph.onnx_outputs, strict=True):
        value = graph.values[name]
        pair = [_reals(array, value) for array in (ours[tensor], theirs[tensor])]
        mine, their = (array.reshape(len(array), -1) for array in pair)
        reals.append((mine, their))
        outputs.append(_output(tensor, mine, their, value))
    classes = [array.argmax(axis=1) for array in reals[0]]
    is_classifier = labels is not None or _is_classifier(graph, given, theirs[graph.onnx_outputs[0]].shape)
    return Agreement(
        source=source,
        images=len(classes[0]),
        kind=given.kind,
        outputs=outputs,
        same_class=float((classes[0] == classes[1]).mean()) if is_classifier else None,
        accuracy=None if labels is None else float((classes[0] == labels).mean()),
        accuracy_given=None if labels is None else float((classes[1] == labels).mean()),
        has_random_weights=graph.has_random_weights,
    )


def _reals(array: NDArray, value: ir.Value) -> NDArray:
    """An output's real numbers: integers are dequantized."""
    element = value.element
    if array.dtype not in element.types:
        return array
    zero = value.zero_point + element.own_offset(array.dtype == element.unsigned)
    return (array.astype(np.int32) - zero) * np.float32(value.scale)


def _output(name: str, ours: NDArray, theirs: NDArray, value: ir.Value) -> OutputAgreement:
    error = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
    step = value.scale if not value.is_float else max(float(np.ptp(theirs)) / (value.element.patterns - 1), 1e-30)
    return OutputAgreement(
        name, error.size, decibels(theirs, error), int((error >= step / 2).sum()), float(error.max(initial=0)),
        float(error.max(initial=0)) / step, step,
    )  # fmt: skip


def _is_classifier(graph: ir.Graph, given: Given, shape: Sequence[int]) -> bool:
    """Whether an output of a shape (B, ...) looks like scores of classes."""
    if len(graph.outputs) != 1 or math.prod(shape[1:]) != max(shape[1:], default=0):
        return False
    ends_in_softmax = any(op in ("Softmax", "LogSoftmax") for op in given.ops_of_output(graph.onnx_outputs[0]))
    return math.prod(shape[1:]) >= (2 if ends_in_softmax else _CLASSES)
