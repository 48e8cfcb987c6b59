"""Every operator of the graph has a specification, and nobody asks a node for its class instead."""

import ast
from pathlib import Path

import numpy as np
import pytest

from superlip.graph import ir
from superlip.ops import apply, spec_of

NODES = [kind for kind in vars(ir).values() if isinstance(kind, type) and issubclass(kind, ir.Node)]
KINDS = [kind for kind in NODES if not any(issubclass(other, kind) for other in NODES if other is not kind)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_class_of_the_graph_has_a_specification(kind):
    node = kind.__new__(kind)  # no specification looks at its node before it is asked
    assert spec_of(node).node is node


def test_an_operator_that_nobody_specified():
    class Unknown(ir.Node):
        pass

    node = Unknown(name="who", inputs=("x",), output="y")
    value = ir.Value("x", (1, 1, 1), 1.0, 0)
    with pytest.raises(TypeError, match=r"Unknown \(who\)"):
        apply(node, [np.zeros((1, 1, 1, 1), np.int8)], {"x": value, "y": value})


def asked_for_class(path):
    """Lines that test for a class of the graph's nodes."""
    names = {kind.__name__ for kind in NODES}
    for question in ast.walk(ast.parse(path.read_text())):
        match question:
            case (
                ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, classes]) | ast.MatchClass(cls=classes)
            ):
                kinds = list(ast.walk(classes))
            case _:
                continue
        if any(isinstance(kind, ast.Attribute) and kind.attr in names and kind.value.id == "ir" for kind in kinds):
            yield f"{path}:{question.lineno}"


def test_no_room_but_this_one_asks_for_the_class_of_a_node():
    root = Path(ir.__file__).parents[1]
    found = [line for path in root.rglob("*.py") if path.parent.name != "ops" for line in asked_for_class(path)]
    assert not found
