"""superlip: CNN inference on several FPGAs, planned, compiled, simulated and proved.

>>> import superlip
>>> report = superlip.run("examples/digits/digits.onnx", boards=2, node="tiny", limit=2)
>>> f"{report.speedup:.1f}", report.bit_exact
('1.8', True)

``load``: an ONNX file as a quantized graph; ``plan``: that graph divided over boards and compiled; ``build``: files for
the boards; ``run``: all of it, simulated and compared with the golden.
"""

import sys
from importlib import import_module, metadata
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from superlip.api import Design, build, load, plan, predict, run
    from superlip.report.report import Report

    __version__: str

__all__ = ["Design", "Report", "__version__", "build", "load", "plan", "predict", "run"]

_HOMES = {"Report": "report"}


def __getattr__(name):
    # On demand: who imports superlip.rtl for a design of their own needs neither ONNX nor a planner.
    if name == "__version__":
        return metadata.version(__name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES.get(name, 'api')}", __name__), name)
    folder = sys.modules.get(f"{__name__}.{name}")
    if folder is not None:
        # `import superlip.plan.cost as cost` asks this for `cost`: a function has the attributes of its folder, too.
        value.__dict__ = folder.__dict__
    return value


def __dir__():
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """A module in which a public function keeps its name where a folder has the same one (``plan``)."""

    def __setattr__(self, name, value):
        # The import machinery binds each sub-package that was imported to its name here.
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
