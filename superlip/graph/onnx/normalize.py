"""A model as the user gave it, in the one spelling that everything behind it takes.

ONNX's own domain has two names, and a model may define operators as functions of others. Both are spelled out here,
so that an operator is known by ``op_type`` from here on: a node that keeps a foreign domain is refused, or runs on the
host.
"""

from collections.abc import Container
from dataclasses import dataclass

import onnx
import onnx.inliner

from superlip.graph.errors import ModelError, one_line

from .attributes import refusals
from .onnxtools import name_nodes, operator

__all__ = ["Normalized", "in_front", "normalize"]


@dataclass(frozen=True)
class Normalized:
    """A model as the user gave it, spelled out.

    ``operators`` is a dict of node name to operator, in the model's order; ``refused`` a dict of node name to why, of
    the nodes that say something superlip does not read. A node of a local function is named ``call/node`` after the
    node that calls it, and its operator is ``function/operator``.
    """

    model: onnx.ModelProto
    operators: dict[str, str]
    refused: dict[str, str]


def normalize(model: onnx.ModelProto) -> Normalized:
    """Bring a model into the importer's spelling: ``ai.onnx`` is the default domain, local functions are inlined.

    Parameters
    ----------
    model : ModelProto
        Changed in place where that is enough.

    Returns
    -------
    Normalized

    Raises
    ------
    ModelError
        If the opset is unknown or a function can't be inlined.
    """
    _default_domain(model)
    _known_opset(model)
    name_nodes(model.graph)
    operators = {n.name: operator(n) for n in model.graph.node}
    if model.functions:
        model, operators = _inlined(model)
    return Normalized(model, operators, refusals(model))


def in_front(model: onnx.ModelProto, refused: Container[str]) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The part of a model that needs nothing of the nodes ``refused`` names.

    Returns
    -------
    ModelProto
        Its outputs are the model's, and what the nodes that were left out take.
    dict of node name to the refused node that it needs
    """
    behind, lost = {}, {}
    for node in model.graph.node:
        cause = node.name if node.name in refused else next((lost[i] for i in node.input if i in lost), None)
        if cause is not None:
            behind[node.name] = cause
            lost |= dict.fromkeys(filter(None, node.output), cause)
    part = onnx.ModelProto()
    part.CopyFrom(model)
    kept = [n for n in model.graph.node if n.name not in behind]
    moving = {i.name for i in model.graph.input}
    for node in kept:
        if moving.intersection(node.input):
            moving.update(node.output)
    taken = {i for n in model.graph.node if n.name in behind for i in n.input}
    outputs = [o for o in model.graph.output if o.name not in lost]
    ends = [t for n in kept for t in n.output if t in taken & moving and t not in {o.name for o in outputs}]
    del part.graph.node[:], part.graph.output[:]
    part.graph.node.extend(kept)
    part.graph.output.extend([*outputs, *(onnx.ValueInfoProto(name=t) for t in ends)])
    return part, {name: cause for name, cause in behind.items() if name not in refused}


def _default_domain(model):
    """Write the domain ``ai.onnx`` as the empty one that it means."""
    for part in (model, *model.functions):
        versions = {o.version for o in part.opset_import if o.domain in ("", "ai.onnx")}
        if len(versions) > 1:
            raise ModelError(f"the domains '' and 'ai.onnx' are one, and have opsets {sorted(versions)}: keep one")
        kept = [o for o in part.opset_import if o.domain not in ("", "ai.onnx")]
        del part.opset_import[:]
        part.opset_import.extend([*(onnx.helper.make_opsetid("", v) for v in versions), *kept])
    for part in (model.graph, *model.functions):
        for node in part.node:
            if node.domain == "ai.onnx":
                node.domain = ""


def _known_opset(model):
    """Refuse an opset whose attributes nobody here has read."""
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if not entry.domain and entry.version > newest:
            raise ModelError(
                f"opset {entry.version} is newer than the installed onnx {onnx.__version__} knows ({newest}): "
                f"install a newer one, or export with an older opset"
            )


def _inlined(model):
    """The model without local functions, and the operators by the names of its nodes."""
    functions = {(f.domain, f.name, _overload(f)): f for f in model.functions}
    try:
        origins = list(_origins(model.graph.node, functions))
        typed = onnx.shape_inference.infer_shapes(model)  # a conversion of opsets needs the types
        inlined = onnx.inliner.inline_local_functions(typed, convert_version=True)
    except RecursionError:
        raise ModelError("a local function calls itself") from None
    except Exception as error:  # the inliner raises RuntimeError and others without a common base
        raise ModelError(f"local functions cannot be inlined: {one_line(error)}") from None
    del inlined.graph.value_info[:]
    operators = [operator(n) for n in inlined.graph.node]
    if len(origins) == len(operators):  # the inliner keeps the order; a conversion of opsets may add nodes
        operators = [op for _, op in origins]
        for node, (name, _) in zip(inlined.graph.node, origins, strict=True):
            node.name = name
    name_nodes(inlined.graph)
    return inlined, {n.name: op for n, op in zip(inlined.graph.node, operators, strict=True)}


def _origins(nodes, functions, path="", op=""):
    """(name, operator) of nodes in order, calls replaced by the nodes of their function."""
    for node in nodes:
        name, kind = path + (node.name or node.op_type), op + operator(node)
        function = functions.get((node.domain, node.op_type, _overload(node)))
        if function is None:
            yield name, kind
        else:
            yield from _origins(function.node, functions, f"{name}/", f"{kind}/")


def _overload(proto):
    return getattr(proto, "overload", "")  # since onnx 1.17
