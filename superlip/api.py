"""The flow from a model to a report: load, plan, compile, simulate, compare.

These functions are the Python interface; the command line calls nothing else.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import ArrayLike

from superlip import golden
from superlip.boards import Target, load_target
from superlip.compile.design import Design
from superlip.diagnose.bisect import first_finding
from superlip.graph import ir
from superlip.graph import load as load_graph
from superlip.graph.images import input_of, is_path, read_images
from superlip.graph.onnx.input_shape import InputShape
from superlip.graph.onnx.options import QuantizeOptions
from superlip.plan.moved_by_host import moved_by_host
from superlip.plan.planner import PlanError
from superlip.report import Report
from superlip.report.measured import measure
from superlip.run.accuracy import judge, judge_calibration
from superlip.run.images import DataError, Images, calibration_file, load_images
from superlip.run.simulate import finish, simulate
from superlip.tools.progress import Phases
from superlip.tools.terminal import counted, make_console

from .package import build

__all__ = ["Design", "build", "load", "plan", "predict", "run"]


def load(
    model: str | Path | onnx.ModelProto,
    *,
    calibrate: str | Path | ArrayLike | None = None,
    random_weights: int | None = None,
    input_shape: InputShape | None = None,
    quantize: str | QuantizeOptions | None = None,
    accept_accuracy: bool = False,
    progress: Callable[[float], None] | None = None,
) -> ir.Graph:
    """Read an ONNX file (float, QDQ or QOperator) as a quantized graph.

    Parameters
    ----------
    model : path, or onnx.ModelProto
    calibrate : path or array, optional
        Images for the quantization of a float model: a .npz or .npy, or an array (N, C, H, W), by the rule of
        ``superlip.graph.images``; by default ``calibration.npz`` or ``calibration.npy`` beside the model.
    random_weights : int, optional
        Seed of made-up weights, for graphs that ship without them.
    input_shape : dict of str to tuple, or tuple, optional
        Sizes of inputs that the model leaves open, with the batch: by name, or of its only input.
    quantize : str, optional
        How a float model is quantized, as ``--quantize`` has it: ``percentile=99.9,correct-bias,no-equalize``.
    accept_accuracy : bool
        Take a network whose outputs are far from those of the model as given.
    progress : callable of float, optional
        Told the part of the comparison that is done.

    Returns
    -------
    ir.Graph
        ``agreement``: how far its outputs are from those of the model as given, on the calibration images.

    Raises
    ------
    superlip.graph.ModelError
        If the file is no ONNX model, or holds what the accelerator can't run.
    superlip.golden.AccuracyError
        If an output has less than 10 dB of signal to error, or a classifier gives less than 80 % of the calibration
        images the class that the model as given gives them.
    """
    if random_weights is None and is_path(model):
        calibrate = calibration_file(model, calibrate)
    graph = load_graph(
        model, calibrate=calibrate, random_weights=random_weights, input_shape=input_shape, quantize=quantize
    )
    graph.agreement = judge_calibration(graph, progress)
    if graph.agreement is not None and not accept_accuracy:
        graph.agreement.require()
    return graph


def predict(
    model: str | Path | onnx.ModelProto | ir.Graph,
    images: str | Path | ArrayLike,
    *,
    calibrate: str | Path | ArrayLike | None = None,
    random_weights: int | None = None,
    input_shape: InputShape | None = None,
    quantize: str | QuantizeOptions | None = None,
) -> dict[str, np.ndarray]:
    """Outputs of a network for some images: of the golden, which the boards' RTL equals bit by bit, and fast.

    Parameters
    ----------
    model : path or ir.Graph
    images : array, or path of a .npz or .npy, shape (N, ...); of several inputs a .npz, or a dict of arrays by name
        As the model takes them (``superlip.graph.images``).
    calibrate, random_weights, input_shape, quantize
        As for ``load``.

    Returns
    -------
    dict of str to ndarray, shape (N, ...)
        By the model's output names: float32, or the model's own integers where its output has them.

    Raises
    ------
    superlip.graph.ModelError, superlip.graph.errors.DataError
        If model or images can't be used.
    """
    if isinstance(model, ir.Graph):
        graph = model
    else:
        graph = load(
            model, calibrate=calibrate, random_weights=random_weights, input_shape=input_shape, quantize=quantize
        )
    return golden.predict_graph(graph, read_images(images, input_of(graph)))


def plan(graph: ir.Graph, *, boards: int = 1, node: str | Path | Target = "zcu102") -> Design:
    """Partition, tile and compile a graph for ``boards`` boards of a node preset or file.

    Where one board alone is as fast, by the cycles of its programs, the others are idle (``Design.why_idle``).

    Raises
    ------
    LoweringError, PlanError, CompileError, TargetError
        All of them ValueErrors that name what does not fit and what would.
    """
    target = _target(node)
    while True:
        try:
            design = Design.of(graph, target, boards)
            break
        except PlanError as error:
            moved = None if error.value is None else moved_by_host(graph, error.value)
            if moved is None:
                raise
            graph = moved
    return design.with_idle_boards() if boards > 1 else design


def run(
    model: Design | ir.Graph | str | Path | onnx.ModelProto,
    *,
    boards: int | None = None,
    node: str | Path | Target | None = None,
    images: Images | ArrayLike | None = None,
    labels: ArrayLike | None = None,
    data: str | Path | None = None,
    limit: int | None = None,
    calibrate: str | Path | ArrayLike | None = None,
    random_weights: int | None = None,
    input_shape: InputShape | None = None,
    quantize: str | QuantizeOptions | None = None,
    accept_accuracy: bool = False,
    pure_rtl: bool = False,
    checkpoints: str | Path | None = None,
    fresh: bool = False,
    progress: bool = False,
    note: Callable[[str], None] | None = None,
) -> Report:
    """Simulate a network on ``boards`` boards and on one, and compare every layer's bits with the golden.

    Parameters
    ----------
    model : path, onnx.ModelProto, ir.Graph or Design
        A Design is run as it is; only the one for one board, to compare with, is still planned.
    boards : int
        1 by default.
    node : preset, TOML file or Target
        By default ``"zcu102"``.
    images, labels : array or path
        Images (N, C, H, W) to run (a dict of arrays by name for several inputs), and class numbers (N,) or one-hot for
        the accuracy; what they may hold says ``superlip.graph.images``.
    data : path
        The same from a .npz or .npy. Without images and data: ``heldout.npz`` or ``.npy`` beside the model, or else one
        random image.
    limit : int
        The first so many of them.
    calibrate, random_weights, input_shape, quantize, accept_accuracy
        As for ``load``; the images that are run are held against the model as given, too.
    pure_rtl : bool
        Simulate the RTL alone, without the C++ stand-ins of the node's data paths: the same bits in the same cycles,
        but several times slower.
    checkpoints : path, optional
        Folder for the state of simulations: if this is interrupted, the same call goes on from there.
    fresh : bool
        Ignore what lies in ``checkpoints``.
    progress : bool
        Show on standard error what goes on, for how long and how much is left.
    note : callable of str, optional
        Told what goes on.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        Of the kinds that ``load`` and ``plan`` raise, for what a user can mend.
    superlip.tools.toolchain.ToolError
        If Verilator or a compiler is missing or fails, or the cache can't be used.
    superlip.sim.cluster.SimulationError
        If a node reported an error or never finished.
    superlip.sim.cluster.SimulationInterrupted
        A KeyboardInterrupt that says where the simulation goes on next time.
    """
    with Phases(make_console(stderr=True) if progress else None, note) as say:
        saved = None
        if checkpoints is not None:
            from superlip.sim.checkpoint import Checkpoints  # noqa: PLC0415 - the simulator's tools are an extra

            saved = Checkpoints(Path(checkpoints), fresh=fresh, keep_results=True, note=say.message)
        try:
            if images is not None and data is not None:
                raise DataError("images and data are two names for what to run: give one of them")
            chosen = (images if data is None else data, labels, limit)
            loading = {
                "calibrate": calibrate, "random_weights": random_weights, "input_shape": input_shape,
                "quantize": quantize, "accept_accuracy": accept_accuracy,
            }  # fmt: skip
            report = _run(model, boards, node, chosen, loading, pure_rtl, saved, say)
        except Exception:
            if saved is not None:
                saved.forget()
            raise
        if saved is not None:
            saved.forget()
        return report


def _run(model, boards, node, chosen, loading, pure_rtl, checkpoints, say):
    from superlip.sim.build import check_machine  # noqa: PLC0415 - the simulator's tools are an extra
    from superlip.sim.cluster import Simulator  # noqa: PLC0415

    check_machine()
    graph, designs, path = _given(model, boards, node)
    target, boards = (designs[max(designs)].target, max(designs)) if designs else (_target(node), boards or 1)
    name = graph.name if graph is not None else Path(path).stem if is_path(path) else path.graph.name or "model"
    say(f"reading {name}")
    if path is not None:
        graph = load(path, **loading, progress=say.part)
    given, labels, limit = chosen
    images = load_images(path if is_path(path) else None, graph, given, labels=labels, limit=limit)
    for count in sorted({1, boards} - designs.keys(), reverse=True):
        say(f"planning {counted(count, 'board')}")
        designs[count] = _alone(designs, graph) or plan(graph, boards=count, node=target)
    quantized = golden.quantize_input(graph, images.images)
    say(f"golden of {counted(len(quantized), 'image')}")
    expected = golden.run(graph, quantized, progress=say.part)
    say(f"ONNX Runtime on {counted(len(quantized), 'image')}")
    agreement = judge(graph, images.images, results=expected, labels=images.labels, source=images.source)
    if agreement is not None and not loading["accept_accuracy"]:
        agreement.require(images.warnings)
    cross = golden.reference(graph, images.images, results=expected) if graph.model else None
    simulator = Simulator.build(target, pure_rtl=pure_rtl, note=say, progress=say.part)
    results = {}
    for count in sorted(designs):
        if count > 1 and designs[count].plan.boards == 1:
            results[count] = results[1]  # the same programs on one board, and nothing on the others
            continue
        say(f"simulating {counted(len(quantized), 'image')} on {counted(count, 'board')}")
        show = _Shown(say, designs[count].cycles)
        results[count] = _simulate(simulator, designs[count], quantized, expected, show, checkpoints)
    outputs = finish(graph, designs[boards], results[boards].outputs)
    return Report.make(name, designs, results, images, outputs, cross, agreement)


def _alone(designs, graph):
    """The design for one board that one for several has been compared with; None where there is none of the graph."""
    return next((design.alone for design in designs.values() if design.graph is graph), None)


def _given(model, boards, node):
    """(graph, designs by number of boards, path) of what ``run`` was given: what is known of them."""
    if not isinstance(model, Design):
        return (model, {}, None) if isinstance(model, ir.Graph) else (None, {}, model)
    made = model.boards
    if boards not in (None, made) or (node is not None and _target(node) != model.target):
        raise PlanError(
            f"the design is for {counted(made, 'board')} of node {model.target.name}: "
            "leave boards and node out, or plan another"
        )
    return model.graph, {made: model}, None


def _target(node):
    return node if isinstance(node, Target) else load_target("zcu102" if node is None else node)


class _Shown:
    """Progress of a simulation as part of a phase: by the plan's cycles, then by those of the images that are done."""

    def __init__(self, say, expected):
        self.say, self.expected = say, expected
        self.done, self.done_at = 0, 0

    def __call__(self, progress):
        if progress.images_done != self.done:
            self.done, self.done_at = progress.images_done, progress.cycles
        each = self.done_at / self.done if self.done else self.expected
        begun = min(1.0, (progress.cycles - self.done_at) / each)
        many = progress.images > 1
        detail = f"{progress.images_done} done" if many else f"{progress.cycles:,} cycles"
        self.say.part(min(1.0, (self.done + begun) / progress.images), detail)


def _simulate(simulator, design, quantized, expected, progress, checkpoints):
    from superlip.sim.cluster import SimulationError  # noqa: PLC0415 - the simulator's tools are an extra

    compiled = design.compiled
    result = simulate(simulator, design, quantized, progress=progress, checkpoints=checkpoints)
    progress.say(f"comparing {counted(len(quantized), 'image')}")
    if result.failure() is not None:
        raise SimulationError(f"{result.failure()}\n{first_finding(design, result, expected, reference=compiled)}")
    measured = measure(design, result, expected)
    if not measured.comparison.total:
        return measured
    return replace(measured, finding=first_finding(design, result, expected, reference=compiled))
