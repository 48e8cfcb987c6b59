"""A network, its images, and what it is worth beside the model as given: made once, and kept in the cache."""

import hashlib
import importlib.metadata
import pickle
import runpy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pictures

import superlip.graph
from superlip import golden
from superlip.golden import Agreement
from superlip.graph import ir
from superlip.graph.images import input_of
from superlip.graph.onnx.onnxtools import static_shape
from superlip.run import accuracy
from superlip.run.images import Images, calibration_file, load_images
from superlip.tools.cache import entry

__all__ = ["Judged", "Source", "judge"]


@dataclass(frozen=True)
class Source:
    """Where a network comes from; ``seed``: of its made-up weights, None where it has its own."""

    title: str
    path: Path
    seed: int | None = 0

    def model(self):
        """ModelProto. A Softmax at the end of a network with made-up weights is left out.

        It gives a 1 and zeros there, which agree with those of the float model whatever is lost before it.
        """
        is_script = self.path.suffix == ".py"
        model = runpy.run_path(str(self.path))["network"]() if is_script else onnx.load(str(self.path))
        return model if self.seed is None else _without_softmax(model)

    def calibration(self, model):
        """What ``load`` takes: photographs for made-up weights, the images beside the file for others."""
        if self.seed is None:
            return calibration_file(self.path)
        return pictures.photographs(pictures.CALIBRATION, _image_shape(model))

    def images(self, graph):
        """Images to run, none of which the network was calibrated on."""
        if self.seed is None:
            return load_images(self.path, graph)
        shape = input_of(graph).shape
        return Images(pictures.photographs(pictures.HELD_OUT, shape), None, ", ".join(pictures.HELD_OUT))


def _without_softmax(model):
    """The model with the scores that a last Softmax takes as its output."""
    graph = model.graph
    for node in [n for n in graph.node if n.op_type == "Softmax"]:
        for output in graph.output:
            if output.name == node.output[0]:
                output.name = node.input[0]
                graph.node.remove(node)
    return model


def _image_shape(model):
    """Shape of a model's image input, without the batch."""
    constants = {i.name for i in model.graph.initializer}
    return static_shape(next(i for i in model.graph.input if i.name not in constants))[1:]


@dataclass(frozen=True, eq=False)
class Judged:
    """A quantized network held against the model as given.

    Parameters
    ----------
    graph : ir.Graph
        Without the model as given, whose weights are large.
    images : Images
    expected : dict of str to ndarray
        What the golden makes of them.
    agreement, attainable : Agreement or None
        Its outputs against the model as given; those of ONNX Runtime's own quantizer, for float models.
    cross : Comparison or None
        The golden's outputs against ONNX Runtime's, of the quantized model.
    """

    graph: ir.Graph
    images: Images
    expected: dict[str, np.ndarray]
    agreement: Agreement | None
    attainable: Agreement | None
    cross: golden.Comparison | None


def judge(source, say):
    """Judged, from the cache if neither the model, nor the images, nor what quantizes and judges has changed."""
    model = source.model()
    calibration = source.calibration(model)

    def make(folder):
        (folder / "judged.pickle").write_bytes(pickle.dumps(_judge(source, model, calibration, say)))

    folder = entry("judged", _key(source, model, calibration), make, note=say)
    return pickle.loads((folder / "judged.pickle").read_bytes())


def _judge(source, model, calibration, say):
    say(f"{source.title}: quantizing")
    graph = superlip.graph.load(model, calibrate=calibration, random_weights=source.seed)
    images = source.images(graph)
    say(f"{source.title}: golden and ONNX Runtime")
    expected = golden.run(graph, golden.quantize_input(graph, images.images))
    told = {"labels": images.labels, "source": images.source}
    agreement = accuracy.judge(graph, images.images, results=expected, **told)
    is_float = agreement is not None and agreement.kind == "float"
    attainable = accuracy.onnxruntime_quantized(graph, images.images, **told) if is_float else None
    cross = golden.reference(graph, images.images, results=expected) if graph.model else None
    graph.given = None
    return Judged(graph, images, expected, agreement, attainable, cross)


def _key(source, model, calibration):
    """Name of a Judged in the cache: a hash of all that it is made of."""
    packages = [Path(module.__file__).parent for module in (superlip.graph, golden)]
    files = [path for folder in packages for path in sorted(folder.rglob("*.py"))]
    files += [Path(file) for file in (__file__, pictures.__file__, accuracy.__file__)]
    files += [path for path in sorted(source.path.parent.glob("*.np[yz]")) if source.seed is None]
    made_of = hashlib.sha256(model.SerializeToString())
    for path in files:
        made_of.update(path.read_bytes())
    made_of.update(calibration.tobytes() if isinstance(calibration, np.ndarray) else b"")
    versions = [importlib.metadata.version(name) for name in ("numpy", "onnx", "onnxruntime", "scikit-image")]
    made_of.update(repr((versions, source.seed)).encode())
    return made_of.hexdigest()[:20]
