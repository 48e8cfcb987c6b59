"""What the accelerator would do with each node of a model."""

from dataclasses import dataclass
from os import PathLike
from typing import Any

from onnx import ModelProto

from superlip.graph.errors import ModelError
from superlip.graph.ir import Graph

from .input_shape import InputShape
from .load import Loader
from .options import QuantizeOptions

__all__ = ["check", "examine", "NodeVerdict"]


@dataclass(frozen=True)
class NodeVerdict:
    """One node of the model: ``verdict`` is accelerator, rewritten, folded, host, unsupported or, where another node is
    unsupported and this one was not looked at, unknown."""

    node: str
    op: str
    verdict: str
    why: str


def check(
    path: str | PathLike[str] | ModelProto,
    *,
    calibrate: Any = None,
    random_weights: int | None = None,
    input_shape: InputShape | None = None,
    quantize: str | QuantizeOptions | None = None,
) -> list[NodeVerdict]:
    """Say for every node of a model where it runs, or why it cannot.

    A float model is quantized on the way, as ``load`` does it. Where no images are given, they are made up, and so are
    placeholder weights (seed 0): the verdicts do not depend on them.

    Returns
    -------
    list of NodeVerdict
        In the model's order. ``load`` raises ModelError if and only if one of them is unsupported.

    Raises
    ------
    ModelError
        If the model as a whole is unusable (no ONNX file, no image input, unknown sizes).
    """
    return examine(
        path, calibrate=calibrate, random_weights=random_weights, input_shape=input_shape, quantize=quantize
    )[0]


def examine(
    path: str | PathLike[str] | ModelProto,
    *,
    calibrate: Any = None,
    random_weights: int | None = None,
    input_shape: InputShape | None = None,
    quantize: str | QuantizeOptions | None = None,
) -> tuple[list[NodeVerdict], Graph | None]:
    """As ``check``: the rows, and the graph that ``load`` would give (None where a node is unsupported)."""
    if calibrate is None and random_weights is None:
        random_weights = 0
    loader = Loader(
        path, calibrate=calibrate, random_weights=random_weights, input_shape=input_shape, quantize=quantize
    )
    try:
        graph = loader.try_import()
    except ModelError as error:
        if not loader.refused:
            raise
        graph, why = None, f"not examined: {error}"
    else:
        why = f"not examined, since {next(iter(loader.refused))!r} is not supported" if loader.refused else ""
    fate = loader.prepared.fate | loader.prepared.taken_in if loader.prepared else loader.fate
    verdicts = dict(loader.importer.verdicts) if loader.importer else {}
    verdicts |= dict.fromkeys(loader.in_front, ("host", "it comes before the image is quantized"))
    verdicts |= {name: ("unsupported", f"needs the result of {cause!r}") for name, cause in loader.behind.items()}
    verdicts |= {name: ("unsupported", why) for name, why in loader.refused.items()}
    rows = [_row(name, op, fate, verdicts, why) for name, op in loader.normalized.operators.items()]
    return rows, None if loader.refused else graph


def _row(name, op, fate, verdicts, unexamined):
    imported = verdicts.get(name)
    made = [verdict for other, (verdict, _) in verdicts.items() if other.startswith(f"{name}/")]
    if name in fate and imported is not None and imported[0] == "host" and "accelerator" in made:
        verdict, why = fate[name]  # the last of several nodes in its place has its name
        return NodeVerdict(name, op, verdict, f"{why}; the host moves what it gives")
    if imported is not None and imported[0] in ("host", "unsupported"):
        return NodeVerdict(name, op, *imported)
    if name in fate:
        return NodeVerdict(name, op, *fate[name])
    if imported is not None:
        return NodeVerdict(name, op, *imported)
    if unexamined:
        return NodeVerdict(name, op, "unknown", unexamined)
    return NodeVerdict(name, op, "folded", "nothing takes its result")
