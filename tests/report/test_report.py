"""What a report says of the outputs."""

import json

import numpy as np
import pytest
from paths import ROOT

import superlip
from superlip.report.report import _predictions

DIGITS = ROOT / "examples" / "digits"


def test_predictions_are_in_text_and_json():
    report = superlip.run(DIGITS / "digits.onnx", node="tiny", limit=7)
    with np.load(DIGITS / "heldout.npz") as file:
        labels = file["labels"][:7]
    (scores,) = report.outputs.values()
    assert [p.label for p in report.predictions] == list(labels)
    assert [p.value for p in report.predictions] == [float(row.max()) for row in scores.reshape(7, -1)]
    content = json.loads(report.to_json())["predictions"]
    assert content == [{"label": p.label, "value": p.value} for p in report.predictions]
    (line,) = [line for line in report.summary().splitlines() if line.startswith("classes")]
    assert [text.split(" ")[0] for text in line.split(maxsplit=1)[1].split(", ")] == [*map(str, labels[:5]), "..."]
    assert repr(report).startswith("<Report of 'digits' on 1 board, node tiny: ") and len(repr(report)) < 120


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1, 1), (2, 1, 3)])
def test_a_vector_is_of_classes(shape):
    output = np.array([[0, 5, 1], [9, 2, 3]], np.int8).reshape(shape)
    assert [(p.label, p.value) for p in _predictions(output)] == [(1, 5.0), (0, 9.0)]


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 1), (2, 1, 1, 1), (2,)])
def test_a_picture_or_a_number_is_not(shape):
    assert _predictions(np.zeros(shape)) is None
