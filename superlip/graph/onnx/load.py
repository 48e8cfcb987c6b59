"""A model file to a quantized graph."""

from os import PathLike
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from superlip.graph.apart import Weights, take_apart, whole
from superlip.graph.errors import ModelError, one_line
from superlip.graph.given import Given
from superlip.graph.images import ImageInput, input_of, read_images
from superlip.graph.ir import Graph

from .calibrate import chosen_ranges, observe_ranges
from .choose import choose_calibration
from .correct import bias_shifts
from .equalize import equalize
from .front import cut_front
from .half import widen
from .importer import import_model
from .importer.importer import Importer
from .input_shape import InputShape, set_input_shapes
from .normalize import in_front, normalize
from .onnxtools import fixed_shape, name_nodes
from .options import QuantizeOptions
from .quantize import quantize as quantize_model
from .randomize import random_images, randomizer
from .rewrite import Prepared, prepare, turn_quantized
from .trifles import trifles
from .validate import check_tensors, make_plain, validate, why_it_does_not_run
from .views import LAYOUT_OPS

__all__ = ["load"]

_OPSET = 17
"""Float models are brought to this opset: the newest that every operator of the importer was written for."""


def load(
    path: str | PathLike[str] | ModelProto,
    *,
    calibrate: Any = None,
    random_weights: int | None = None,
    input_shape: InputShape | None = None,
    quantize: str | QuantizeOptions | None = None,
) -> Graph:
    """Read an ONNX model and quantize it if it is not quantized yet.

    Parameters
    ----------
    path : path of an .onnx file, or ModelProto
        A float model, a QDQ model or a QOperator model; its inputs are images, or vectors.
    calibrate : path of a .npz or .npy, or array (N, C, H, W), or dict of arrays by input, optional
        Images for the quantization of a float model (``superlip.graph.images``).
    random_weights : int, optional
        Seed: placeholder weights (all equal) are replaced by random ones, and calibration images are made up.
    input_shape : dict of str to shape, or shape, optional
        Sizes of inputs that the model leaves open, with the batch (``input_shape.py``).
    quantize : str or QuantizeOptions, optional
        How a float model is quantized, in words: ``percentile=99.9,correct-bias,no-equalize`` (``options.py``).

    Returns
    -------
    ir.Graph

    Raises
    ------
    ModelError
        If the file is no model, or the model cannot be run on the accelerator; the text says what and why.
    """
    return Loader(
        path, calibrate=calibrate, random_weights=random_weights, input_shape=input_shape, quantize=quantize
    ).graph()


class Loader:
    """What ``load`` and ``check`` share: the stages, and what each made of the nodes."""

    def __init__(
        self,
        path: str | PathLike[str] | ModelProto,
        *,
        calibrate: Any = None,
        random_weights: int | None = None,
        input_shape: InputShape | None = None,
        quantize: str | QuantizeOptions | None = None,
    ) -> None:
        self.options = QuantizeOptions.of(quantize)
        self.scaled: dict[str, NDArray] = {}
        self.calibrate = calibrate
        self.random_weights = random_weights
        if isinstance(path, onnx.ModelProto):
            self.model, self.weights = read_whole(path)
            self.name = path.graph.name or "model"
        else:
            self.model, self.weights = read_whole(read_model(path))
            self.name = Path(path).stem
        set_input_shapes(self.model, input_shape)
        name_nodes(self.model.graph)  # ONNX Runtime takes no name twice
        self.reference: tuple[bytes, Weights] = self.model.SerializeToString(), dict(self.weights)
        self.normalized = normalize(self.model)
        self.model, self.refused = self.normalized.model, dict(self.normalized.refused)
        is_half = not is_quantized(self.model) and widen(self.model, self.weights)
        self.notes = ["the model is in half precision: it is quantized from float32"] if is_half else []
        validate(self.model, self.name, self.refused, self.weights)
        cut = None
        if not self.refused:
            cut = cut_front(self.model, is_quantized=is_quantized(self.model), weights=self.weights)
        self.front, self.in_front = cut or (None, [])
        self.behind: dict[str, str] = {}
        self.prepared: Prepared | None = None
        self.fate: dict[str, tuple[str, str]] = {}
        self.importer: Importer | None = None
        self.images: NDArray | None = None
        self.has_random_weights = False

    def graph(self) -> Graph:
        """Import; ModelError names the unsupported nodes."""
        try:
            graph = self.try_import()
        except ModelError:
            if not self.refused:
                raise
        if self.refused or graph is None:
            raise ModelError(self.unsupported())
        return graph

    def unsupported(self) -> str:
        """Text that names the nodes that are not supported, each with its reason."""
        reasons = {}
        for name, why in self._refusals():
            reasons.setdefault(self._own_node(name), why)
        refused = [f"{self.normalized.operators.get(name, 'node')} {name!r}: {why}" for name, why in reasons.items()]
        if len(refused) == 1:
            return f"{self.name}: {refused[0]}"
        more = f"\n  ... and {len(refused) - 8} more" if len(refused) > 8 else ""
        return f"{self.name} has unsupported nodes:\n  " + "\n  ".join(refused[:8]) + more

    def _refusals(self):
        """(name of a node, why), first those that were refused before the import."""
        imported = [] if self.importer is None else [(n.name, why) for n, why in self.importer.unsupported]
        return [*self.refused.items(), *imported]

    def _own_node(self, name):
        """Name of the user's node for one that was made of it: those are named NODE/WHAT."""
        while name not in self.normalized.operators and "/" in name:
            name = name.rpartition("/")[0]
        return name

    def try_import(self) -> Graph | None:
        """The graph, or None where nodes are unsupported (``importer.unsupported``)."""
        try:
            return self._import()
        except ModelError:
            raise
        except MemoryError as error:
            raise ModelError(f"{self.name} needs more memory than there is: {one_line(error)}") from error
        except Exception as error:
            # Anything else is a mistake in the model, which ONNX Runtime can name, or one of ours, which must be seen.
            refused = why_it_does_not_run(whole(*self.reference))
            if refused is None:
                raise
            raise ModelError(f"{self.name} can't be run by ONNX Runtime either: {refused}") from error

    def _import(self):
        model, prepared, ranges, shifts = self.model, None, {}, {}
        weights: Weights = self.weights
        if not is_quantized(model):
            model, self.behind = in_front(model, self.refused) if self.refused else (model, {})
            prepared, images = self._prepare(model)
            self.prepared, self.images = prepared, images
            ranges, shifts = self._observe(prepared, images if self.front is None else self.front(images))
        else:
            model, weights, self.fate = turn_quantized(model, weights)
        hosted, known = {}, {}
        while True:
            if prepared is not None:
                model, weights = quantize_model(prepared, ranges, hosted, shifts, known)
            graph, self.importer = import_model(model, self.name, self.refused, hosted, weights)
            more = _for_host(self.importer, prepared, self.refused, hosted)
            if not more and graph is not None:
                own = model.graph.node if prepared is None else prepared.nodes
                more = trifles(graph, {n.name for n in own if n.op_type not in LAYOUT_OPS} - hosted.keys())
            if not more:
                break
            hosted |= more
        if graph is not None and prepared is not None:
            graph.notes[:0] = [*self.notes, *prepared.notes]
        if graph is not None:
            self._remember(graph)
        return graph

    def _observe(self, prepared, images):
        """(range of each tensor, what is added to biases), as the options have them; weights may change."""
        options = self.options
        if options.equalize:
            self.scaled = equalize(prepared, images)
        if options.calibration == "auto":
            options = choose_calibration(prepared, images, options)
            self.notes.append(f"calibration by {options.calibration}: the best on every fourth calibration image")
        ranges = observe_ranges(prepared.model, images, prepared.consts)
        if options.calibration != "minmax":
            ranges = chosen_ranges(prepared.model, images, ranges, options, prepared.consts)
        return ranges, bias_shifts(prepared, ranges, images) if options.correct_bias else {}

    def _remember(self, graph):
        """Keep with the graph what it is held against."""
        graph.front = self.front
        if self.front is not None:
            graph.notes.append("what comes before the image is quantized is the host's work on each image")
        light, weights = self.reference
        graph.given = Given(light, input_of(graph).name, input_of(graph).parts, weights)
        graph.has_random_weights = self.has_random_weights
        graph.calibration = self.images
        graph.channel_scales = self.scaled
        if self.prepared is None and self.calibrate is not None:
            graph.calibration = read_images(self.calibrate, input_of(graph), what="calibration images")
            graph.notes.append("the model is quantized already: calibration images are only used to check it")

    def _prepare(self, model: ModelProto) -> tuple[Prepared, NDArray]:
        """The float model ready for quantization, and images to calibrate it with."""
        for info in model.graph.input:
            if info.type.tensor_type.elem_type != TensorProto.FLOAT:
                raise ModelError(f"input {info.name!r} of a float model must be float32")
        shapes = {info.name: fixed_shape(info) for info in model.graph.input}
        takes = ImageInput.of([ImageInput(name, shape[1:]) for name, shape in shapes.items()])
        if self.front is not None:
            takes = self.front.takes
            shapes = {takes.name: (1, *takes.shape)}
        if self.calibrate is not None:
            images = read_images(self.calibrate, takes, what="calibration images")
        elif self.random_weights is not None:
            made = [random_images(self.random_weights, shape, takes.dtype) for shape in shapes.values()]
            images = takes.joined(made) if takes.parts else made[0]
        else:
            wanted = [f"an array of shape (N, {', '.join(map(str, shape[1:]))})" for shape in shapes.values()]
            several = "a dict of arrays by the inputs' names"
            raise ModelError(
                f"{self.name} is a float model: give calibration images (calibrate=FILE.npz or "
                f"{several if takes.parts else wanted[0]}), a model that is quantized already, or "
                f"random_weights=SEED to try a graph without weights"
            )
        model = upgrade(model)
        randomize = None if self.random_weights is None else randomizer(self.random_weights)
        prepared = prepare(model, randomize=randomize, weights=self.weights)
        if prepared.randomized is not None:
            self.reference, self.has_random_weights = prepared.randomized, True
        return prepared, images


def read_whole(model: ModelProto) -> tuple[ModelProto, dict[str, NDArray]]:
    """A model without the numbers of its large constants, and these; the model given stays as it is."""
    check_tensors(model)
    light, weights = take_apart(model)
    make_plain(light.graph, weights)
    return light, weights


def read_model(path: str | PathLike[str]) -> ModelProto:
    """ModelProto of a file; ModelError where it is none."""
    if not str(path).strip():
        raise ModelError("the model's name is empty: an ONNX file is wanted")
    try:
        model = onnx.load(str(path))
    except FileNotFoundError as error:
        missing = getattr(error, "filename", None) or path
        raise ModelError(f"{str(missing)!r} does not exist") from None
    except IsADirectoryError:
        raise ModelError(f"{str(path)!r} is a folder, not an ONNX file") from None
    except (DecodeError, ValueError, OSError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{str(path)!r} is not an ONNX file that can be read: {one_line(error)}") from None
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{str(path)!r} holds no ONNX graph")
    if not model.opset_import:
        raise ModelError(f"{str(path)!r} names no opset: not a valid ONNX model")
    return model


def is_quantized(model: ModelProto) -> bool:
    """Whether a model has quantized operators already."""
    return any(n.op_type.startswith(("QLinear", "QGemm", "QuantizeLinear")) for n in model.graph.node)


def upgrade(model: ModelProto) -> ModelProto:
    """The float model at the opset the importer was written for, if ONNX can convert it."""
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)
    if version >= 13:
        return model
    try:
        converted = onnx.version_converter.convert_version(model, _OPSET)
    except Exception as error:  # the converter raises RuntimeError and others without a common base
        raise ModelError(f"opset {version} cannot be brought to {_OPSET}: {one_line(error)}") from None
    converted.ir_version = max(converted.ir_version, 8)
    initializers = {i.name for i in converted.graph.initializer}
    kept = [i for i in converted.graph.input if i.name not in initializers]
    del converted.graph.input[:]
    converted.graph.input.extend(kept)
    names = {o: n.name for n in model.graph.node for o in n.output if o}
    takers = {i: node for node in reversed(converted.graph.node) for i in node.input}
    for node in converted.graph.node:  # the converter makes some nodes anew, and gives them no name
        node.name = next((names[o] for o in node.output if o in names), node.name) or _named_after(node, names, takers)
    return converted


def _named_after(node, names, takers):
    """Name of a node in front of one of the model's own: TAKER/OPERATOR."""
    taker = node
    while taker is not None and not any(o in names for o in taker.output):
        taker = takers.get(taker.output[0])
    own = "" if taker is None else next(names[o] for o in taker.output if o in names)
    return f"{own}/{node.op_type.lower()}" if own else ""


def _for_host(importer, prepared, refused, hosted):
    """Nodes that the accelerator turned out not to run and the host may: why, by name.

    Parameters
    ----------
    importer : Importer
        Behind an import.
    prepared : Prepared or None
        Of a float model; of its nodes are those that are found.
    refused, hosted : dict of str to str
        Nodes that nothing runs, and that the host runs already.
    """
    unhostable = importer.unhostable | refused.keys()
    own = None if prepared is None else {n.name for n in prepared.nodes}
    found = {}
    for node, why in importer.unsupported:
        name = node.name
        while own is not None and name not in own and "/" in name:  # of a node that was made for it
            name = name.rpartition("/")[0]
        if node.name not in unhostable and name not in hosted and (own is None or name in own):
            found[name] = why
    if prepared is not None and not found:  # with what stands around them there, nothing is rounded in between
        verdicts = {name: importer.verdicts.get(name, ("", "")) for name in prepared.between - hosted.keys()}
        found = {name: why for name, (verdict, why) in verdicts.items() if verdict == "host"}
    return found
