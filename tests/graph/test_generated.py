"""Random models, float, Q/DQ and QOperator: right, or refused by the name of the node.

A failure names its number: ``generate_float.float_model(NUMBER)`` is the model. ``--seed`` tries others.
"""

import re

import numpy as np
import pytest
from functional import run_compiled
from generate_float import float_model
from generate_quantized import qdq_model, qoperator_model
from ort_quantizer import decibels_of_onnxruntime

from superlip import golden, graph
from superlip.graph import ir
from superlip.ops.lowering import LoweringError

FAST, BLOCK = 300, 50
BLOCKS = range(FAST // BLOCK)
POOR_DB, BEHIND_DB = 20.0, 1.5
WHOLE_MODEL = "made: no convolution, dense layer, pooling or addition was found to accelerate"


@pytest.fixture
def base(request):
    """Number of the first model."""
    return request.config.getoption("--seed") or 0


def loaded(make, number, **arguments):
    """(Made, ir.Graph), or None where the model is refused as it should be."""
    made = make(number)
    try:
        if arguments.pop("is_float", False):
            arguments["calibrate"] = made.images
        return made, graph.load(made.model, **arguments)
    except graph.ModelError as error:
        names_a_node(str(error), made.model)
        return None


def names_a_node(text, model):
    """Each line of a refusal names one of the model's own nodes with its operator, and says more than that."""
    operators = {n.name: n.op_type for n in model.graph.node}
    if text == WHOLE_MODEL:
        return
    for line in text.replace("made: ", "\n  ", 1).split("\n  ")[1:]:
        if line.startswith("... and"):
            continue
        found = re.fullmatch(r"(?:com\.microsoft::)?(\w+) '([^']+)': (.{15,})", line)
        assert found and operators.get(found[2]) == found[1], text
        assert "_quantized" not in found[3] and "superlip" not in found[3] and "/" not in found[3].split("'")[0], text


JUMPS = ("Floor", "Ceil", "Round", "Sign")
"""Of these the smallest error may make a whole number: decibels say nothing about it. Their tables are equal (Q/DQ)."""


def judge_float(number, folder):
    """No output is poor but where 8 bits are too few: where ONNX Runtime's own quantizer is no better.

    That is measured as its users have it, and with integers between all operators, as superlip has them.
    """
    found = loaded(float_model, number, is_float=True)
    if found is None:
        return False
    made, g = found
    if any(n.op_type in JUMPS for n in made.model.graph.node):
        return True
    for images in (made.images, made.others):
        agreement = golden.agree(g, images)
        theirs = g.given.run(images)  # what is one number everywhere has no signal but its own rounding
        poor = [o for o in agreement.outputs if o.decibels < POOR_DB and np.ptp(theirs[o.name]) > 0]
        if not poor or (images is made.others and left_calibration(agreement.loss)):
            continue
        assert agreement.warning, number
        for everywhere in (False, True):
            measure = decibels_of_onnxruntime(made.model, made.images, images, folder, everywhere=everywhere)
            if measure is not None:
                poor = [o for o in poor if measure[o.name] > max(POOR_DB, o.decibels + BEHIND_DB)]
        assert not poor, f"float_model({number}): {[str(o) for o in poor]}, {agreement.loss}"
    return True


def left_calibration(loss):
    return loss is not None and loss.blame == "range" and "which calibration saw" in loss.why


EXACT = ("QLinearConv", "QLinearMatMul", "QGemm", "QLinearGlobalAveragePool", "QLinearConcat", "QLinearSigmoid")


def judge_quantized(make, number):
    """Each layer alone is at most one step from ONNX Runtime's, before its table; products of integers are equal."""
    found = loaded(make, number)
    if found is None:
        return False
    made, g = found
    images = np.concatenate([made.images, made.others])
    if not any(output.differing for output in golden.agree(g, images).outputs):
        return True
    operators = {n.name: n.op_type for n in made.model.graph.node}
    tensors = {g.input} | {o for n in made.model.graph.node for o in n.output}
    nodes = {n.name: n for n in g.nodes}
    for layer in golden.reference(g, images, layers=True).layers:
        exact = operators.get(layer.name) in EXACT
        bound = 0 if exact else steps_allowed(nodes[layer.name], tensors)
        assert layer.largest <= bound, f"{make.__name__}({number}): {layer}"
    return True


def steps_allowed(node, tensors):
    """One; as many as its table makes of one; three where it takes a table's result that no tensor of the model is."""
    table, is_own = getattr(node, "table", None), tensors.issuperset(node.inputs)
    jump = 1 if table is None else max(1, int(np.abs(np.diff(np.roll(table, 128).astype(int))).max()))
    if not is_own:
        return max(3, jump)
    return jump if isinstance(node, ir.Conv) else 1


def judged(judge, numbers):
    """Most of the models are not refused."""
    taken = sum(judge(number) for number in numbers)
    assert taken > 0.6 * len(numbers)


@pytest.mark.parametrize("block", BLOCKS)
def test_float_models(base, block, tmp_path):
    judged(lambda number: judge_float(number, tmp_path), range(base + block * BLOCK, base + (block + 1) * BLOCK))


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("make", [qdq_model, qoperator_model])
def test_quantized_models(make, base, block):
    judged(lambda number: judge_quantized(make, number), range(base + block * BLOCK, base + (block + 1) * BLOCK))


@pytest.mark.parametrize("make", [float_model, qdq_model, qoperator_model])
def test_generated_models_compiled(make, base):
    """What quantization makes is right in the compiler, too: instruction by instruction on one board and on two."""
    for number in range(base, base + 20):
        found = loaded(make, number, is_float=make is float_model)
        if found is None:
            continue
        made, g = found
        image = golden.quantize_input(g, made.images)[0]
        try:
            for boards in (1, 2):
                run_compiled(g, image, boards, seeds=(0,))
        except LoweringError as error:
            assert "do not go together" in str(error), number


SLOW, SLOW_BLOCK = 10_000, 500


@pytest.mark.slow
@pytest.mark.parametrize("block", range(SLOW // SLOW_BLOCK))
def test_many_float_models(base, block, tmp_path):
    first = base + FAST + block * SLOW_BLOCK
    judged(lambda number: judge_float(number, tmp_path), range(first, first + SLOW_BLOCK))


@pytest.mark.slow
@pytest.mark.parametrize("block", range(SLOW // SLOW_BLOCK))
@pytest.mark.parametrize("make", [qdq_model, qoperator_model])
def test_many_quantized_models(make, base, block):
    first = base + FAST + block * SLOW_BLOCK
    judged(lambda number: judge_quantized(make, number), range(first, first + SLOW_BLOCK))
