"""Public functions of the rooms above the hardware say what they take and what they give."""

import ast

import pytest
from paths import modules

ROOMS = {"api", "boards", "cli", "diagnose", "package", "report", "run", "sim", "synth", "tools"}
"""Of ops, plan and compile mypy asks it of all functions (pyproject.toml)."""
OTHERS = ("sim.testbenches.", "sim.mutants.")
"""Scripts around simulated components, and a program of its own."""


def public_functions(body, prefix=""):
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
            yield prefix + node.name, node


def lacking(function):
    """What has no type: parameters, and the result (``return``)."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    for argument in filter(None, named):
        if argument.annotation is None and argument.arg not in ("self", "cls"):
            yield argument.arg
    if function.returns is None and function.name != "__init__":
        yield "return"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_public_functions_have_types(room):
    missing = {}
    for path, parts in modules():
        name = ".".join(parts[1:])
        if parts[1:2] == (room,) and not name.startswith(OTHERS):
            for function, node in public_functions(ast.parse(path.read_text()).body):
                if left := list(lacking(node)):
                    missing[f"{name}.{function}"] = left
    assert not missing


def test_what_lacks_a_type_is_seen():
    (found,) = public_functions(ast.parse("class A:\n    def f(self, a: int, *b, c=1, **d): ...").body)
    assert found[0] == "A.f" and list(lacking(found[1])) == ["c", "b", "d", "return"]
