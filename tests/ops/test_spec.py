"""Every operator of the graph has a specification."""

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
