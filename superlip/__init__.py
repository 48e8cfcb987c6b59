"""superlip: CNN inference on several FPGAs, planned, compiled, simulated and proved.

>>> import superlip                                                      # doctest: +SKIP
>>> report = superlip.run("model.onnx", boards=2, node="tiny")           # doctest: +SKIP
>>> report.speedup, report.bit_exact                                     # doctest: +SKIP
(1.9, True)

``load``: an ONNX file as a quantized graph; ``plan``: that graph divided over boards and compiled; ``build``: files for
the boards; ``run``: all of it, simulated and compared with the golden.
"""

from importlib import import_module

__all__ = ["Design", "Report", "build", "load", "plan", "run"]

_HOMES = {"Report": "report"}


def __getattr__(name):
    # On demand: who imports superlip.rtl for a design of their own needs neither ONNX nor a planner.
    if name in __all__:
        return getattr(import_module(f".{_HOMES.get(name, 'flow')}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
