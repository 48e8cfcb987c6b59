"""What other libraries say, on one line that a user can read."""

from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from superlip.graph.errors import DataError, ModelError, node_line, one_line


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=80), st.integers(1, 9))
def test_it_is_one_line_of_limited_length(text, times):
    line = one_line(ValueError("\n".join([text] * times)))
    assert line.isprintable() and 0 < len(line) <= 240


def test_source_files_and_status_codes_go():
    text = (
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code returned while running Conv node. "
        "Name:'c1' Status Message: /onnxruntime_src/onnxruntime/core/conv.cc:75 Invalid rank"
    )
    assert one_line(RuntimeError(text)) == "Conv 'c1': Invalid rank"
    assert node_line(RuntimeError(text), helper.make_node("Conv", ["x"], ["y"], name="c1")) == "Invalid rank"


def test_an_error_without_text_has_its_types_name():
    assert one_line(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert issubclass(DataError, ModelError) and issubclass(ModelError, ValueError)
