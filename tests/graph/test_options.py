"""Words of --quantize."""

import pytest

from superlip.graph.errors import ModelError
from superlip.graph.onnx.options import CALIBRATIONS, OptionError, QuantizeOptions


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_each_calibration_is_a_word(name):
    assert QuantizeOptions.of(name) == QuantizeOptions(calibration=name)


def test_words_together():
    options = QuantizeOptions.of(" percentile=99.5 , no-equalize,correct-bias,")
    assert options == QuantizeOptions("percentile", 99.5, equalize=False, correct_bias=True)
    assert QuantizeOptions.of(options) is options
    assert QuantizeOptions.of(None) == QuantizeOptions.of("") == QuantizeOptions()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("middling", "'middling' is no way to quantize: there are minmax, percentile"),
        ("no-mse", "'no-mse' is no way to quantize"),
        ("percentile=many", "percentile is a number, as in percentile=99.9, not 'percentile=many'"),
        ("percentile=", "percentile is a number"),
        ("percentile=101", "percentile must be above 50 and at most 100, not 101"),
        ("percentile=nan", "percentile must be above 50"),
        ("mse=3", "'mse' takes no value: 'mse=3'"),
        ("equalize=1", "'equalize' takes no value"),
        ("mse,entropy", "'mse,entropy' chooses calibration twice"),
        ("equalize,no-equalize", "chooses equalize twice"),
    ],
)
def test_what_is_none_is_named(words, message):
    with pytest.raises(OptionError, match=message) as error:
        QuantizeOptions.of(words)
    assert isinstance(error.value, ModelError)


def test_a_calibration_that_is_none():
    with pytest.raises(OptionError, match="'best' is no calibration"):
        QuantizeOptions("best")
