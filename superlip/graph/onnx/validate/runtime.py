"""What ONNX Runtime says of a model."""

import bisect
import signal
import subprocess
import sys

import numpy as np
import onnx
from onnx import ModelProto, NodeProto

from superlip.graph.errors import ModelError, one_line
from superlip.graph.onnx.onnxtools import label
from superlip.graph.session import open_session

from .nodes import SCALES
from .sizes import Shapes

__all__ = ["may_abort", "why_it_does_not_run", "with_runtime"]

_NO_OPERATOR = ("NOT_IMPLEMENTED", "is not a registered function/op", "No opset import for domain")
_NUMPY = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8}


def why_it_does_not_run(model: bytes) -> str | None:
    """What ONNX Runtime says of a model when it is to run one black image; None where it runs.

    In a process of its own: a damaged model may end it.

    Parameters
    ----------
    model : bytes
        Serialized, as given.
    """
    command = [sys.executable, "-c", f"from {__name__} import _run_one_image; _run_one_image()"]
    done = subprocess.run(command, input=model, capture_output=True, check=False)
    if done.returncode < 0:
        return f"it ends with {signal.Signals(-done.returncode).name}"
    return done.stdout.decode() or None


def _run_one_image():
    """Run the model on standard input, and print why it does not run."""
    model = sys.stdin.buffer.read()
    try:
        known = {tensor.name for tensor in onnx.load_from_string(model).graph.initializer}
        session = open_session(model, is_optimized=False)
        infos = [info for info in session.get_inputs() if info.name not in known]
        session.run(None, {info.name: np.zeros(_sizes(info), _NUMPY.get(info.type, np.float32)) for info in infos})
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        print(one_line(error), end="")


def _sizes(info):
    return [size if isinstance(size, int) else 1 for size in info.shape]


def with_runtime(light: ModelProto, name: str) -> Shapes:
    """Shapes by tensor name, by ONNX Runtime, which has to accept the model; none where it lacks an operator."""
    try:
        session = _open(light, len(light.graph.node))
    except Exception as error:  # onnxruntime's exceptions share no base class of their own
        text = one_line(error)
        if any(part in str(error) for part in _NO_OPERATOR):
            return {}
        if not any(f"'{node.name}'" in text for node in light.graph.node):
            text = _culprit(light) + text
        raise ModelError(f"{name} is no valid ONNX model: {text}") from None
    return {output.name: tuple(output.shape) for output in session.get_outputs()}


def _open(light, count):
    """A session of the first ``count`` nodes; its outputs are all that they give, and those of the model."""
    probe = onnx.ModelProto()
    probe.CopyFrom(light)
    del probe.graph.node[count:]
    made = {o for node in probe.graph.node for o in node.output if o}
    kept = [output for output in light.graph.output if output.name in made or count == len(light.graph.node)]
    del probe.graph.output[:]
    probe.graph.output.extend(kept)
    known = {output.name for output in kept}
    probe.graph.output.extend(onnx.ValueInfoProto(name=o) for o in sorted(made - known))
    return open_session(probe.SerializeToString(), is_optimized=False)


def _culprit(light):
    """``label: `` of the node that ONNX Runtime refuses, where what comes before it is accepted; or nothing."""

    def is_refused(count):
        try:
            _open(light, count)
        except Exception:  # as above
            return True
        return False

    counts = range(1, len(light.graph.node) + 1)
    first = bisect.bisect_left(counts, True, key=is_refused)
    return f"{label(light.graph.node[first])}: " if 0 < first < len(counts) else ""


def may_abort(node: NodeProto) -> bool:
    """Whether ONNX Runtime may end the process: its own quantized operators look for zero points that are not there."""
    last = max((zero for _, zero in SCALES.get(node.op_type, ())), default=0)
    return node.domain == "com.microsoft" and ("" in node.input or len(node.input) <= last)
