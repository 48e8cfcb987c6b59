"""Random ONNX models, each reproducible by one number: the model that grows, and its images.

Every tensor is computed as the model grows, on the calibration images, so that weights, bounds, statistics and scales
suit what is really there. A node that ONNX Runtime can't run, or that gives numbers which are not finite, is left out
again.
"""

from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

NEWEST = 23
"""Newest opset that ONNX Runtime runs every operator below in."""
_LARGEST = 1500
"""Elements of a tensor."""
CALIBRATION, OTHERS = 6, 3
"""Images of a model."""


@dataclass(frozen=True)
class Made:
    """A model, the images to calibrate it with, and others like them."""

    model: onnx.ModelProto
    images: np.ndarray
    others: np.ndarray


class Net:
    """A model that grows.

    ``values`` is a dict of tensor name to its array for each image, ``open`` the names of those that a next node may
    take.
    """

    folds_norms = True
    """Whether BatchNormalization comes straight behind a convolution; quantizers have folded it."""

    def __init__(self, seed, opset):
        self.rng = np.random.default_rng(seed)
        self.opset = opset
        self.nodes, self.consts, self.values, self.open = [], {}, {}, []

    def chance(self, share):
        return self.rng.random() < share

    def one(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def whole(self, low, high):
        """One of low to high, both included."""
        return int(self.rng.integers(low, high + 1))

    def const(self, array, dtype=np.float32):
        """Name of a constant; often that of an equal one, and sometimes a Constant node."""
        array = np.asarray(array, dtype)
        for name, other in self.consts.items():
            is_same = other.dtype == array.dtype and other.shape == array.shape and np.array_equal(other, array)
            if is_same and self.chance(0.6):
                return name
        name = f"c{len(self.consts)}"
        self.consts[name] = array
        return name

    def like(self, shape, make):
        """Name of a constant of a shape: one that another node has already, or a new one."""
        same = [n for n, a in self.consts.items() if a.shape == tuple(shape) and a.dtype == np.float32 and a.size > 1]
        return self.one(*same) if same and self.chance(0.25) else self.const(make())

    def op(self, op, *inputs, outputs=1, domain="", **attributes):
        """Name of a node's result (names, of several), or None where the node does not work."""
        name = f"n{len(self.nodes)}"
        results = [f"{name}_{i}" if outputs > 1 else f"{name}_y" for i in range(outputs)]
        node = helper.make_node(op, list(inputs), results, name=name, domain=domain, **attributes)
        found = self.computed(node, results, self.values)
        if found is None:
            return None
        self.nodes.append(node)
        self.values.update(found)
        return results[0] if outputs == 1 else results

    def computed(self, node, results, values):
        """Arrays for each image by result of a node, or None where it does not work; ``values`` are its operands'."""
        inputs = [i for i in dict.fromkeys(node.input) if i in values]
        infos = [
            helper.make_tensor_value_info(i, helper.np_dtype_to_tensor_dtype(values[i][0].dtype), None) for i in inputs
        ]
        constants = [numpy_helper.from_array(self.consts[i], i) for i in dict.fromkeys(node.input) if i in self.consts]
        graph = helper.make_graph([node], "one", infos, [onnx.ValueInfoProto(name=r) for r in results], constants)
        model = helper.make_model(graph, opset_imports=self._imports(), ir_version=9)
        try:
            session = onnxruntime.InferenceSession(model.SerializeToString(), _quiet(), ["CPUExecutionProvider"])
            rows = [session.run(None, {i: values[i][k] for i in inputs}) for k in range(CALIBRATION)]
        except Exception:  # the node does not fit its operands
            return None
        found = {r: [row[i] for row in rows] for i, r in enumerate(results)}
        return found if all(_usable(array) for arrays in found.values() for array in arrays) else None

    def _imports(self):
        return [helper.make_opsetid("", self.opset), helper.make_opsetid("com.microsoft", 1)]

    def start(self, images):
        """Take images for the input ``x``."""
        self.values["x"] = [image[None] for image in images[:CALIBRATION]]
        self.give("x")

    def end(self, x):
        """What the model may give as an output for a tensor."""
        return x

    # ---- what is known of tensors

    def shape(self, x):
        return self.values[x][0].shape

    def numbers(self, x):
        return np.concatenate([np.asarray(a, np.float64).reshape(-1) for a in self.values[x]])

    def size(self, x):
        """Root mean square, or 1 of zeros."""
        return float(np.sqrt((self.numbers(x) ** 2).mean())) or 1.0

    def pick(self, condition=lambda shape: True):
        """A tensor that the next node may take, the newest most likely; None where none has such a shape."""
        fitting = [x for x in self.open if condition(self.shape(x))]
        if not fitting:
            return None
        newest = fitting[-3:]
        return self.one(*newest) if self.chance(0.8) else self.one(*fitting)

    def image(self):
        return self.pick(lambda s: len(s) == 4)

    def give(self, *names):
        """Let the next nodes take tensors."""
        self.open += [n for n in names if n is not None]

    def model(self, outputs):
        batch = "N" if self.chance(0.3) else 1
        kind = helper.np_dtype_to_tensor_dtype(self.values["x"][0].dtype)
        info = helper.make_tensor_value_info("x", kind, [batch, *self.shape("x")[1:]])
        kinds = {n: helper.np_dtype_to_tensor_dtype(self.values[n][0].dtype) for n in outputs}
        infos = [helper.make_tensor_value_info(n, kind, self.shape(n)) for n, kind in kinds.items()]
        used = {i for n in self.nodes for i in n.input}
        nodes, initializers = list(self.nodes), []
        for name, array in self.consts.items():
            tensor = numpy_helper.from_array(array, name)
            if name not in used:
                continue
            if self.chance(0.1) and not {"QGemm"} & {n.op_type for n in self.nodes}:  # that takes initializers only
                nodes.insert(0, helper.make_node("Constant", [], [name], name=f"make_{name}", value=tensor))
            else:
                initializers.append(tensor)
        graph = helper.make_graph(nodes, "made", [info], infos, initializers)
        return helper.make_model(graph, opset_imports=self._imports(), ir_version=9)


def _quiet():
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    return options


def _usable(array):
    if not 0 < array.size <= _LARGEST or not array.ndim or array.shape[0] != 1:
        return False
    return array.dtype != np.float32 or (bool(np.isfinite(array).all()) and np.abs(array).max() < 1e6)


def make_images(rng, shape):
    """All images of a model: pixels, noise, or something smooth, of any size."""
    kind = rng.integers(4)
    images = rng.normal(size=(CALIBRATION, *shape))
    if kind == 0:
        images = rng.integers(0, 256, images.shape)
    if kind == 1:
        images = rng.random(images.shape)
    if kind == 2:
        images = np.cumsum(images, axis=-1)
    if kind:
        images = images * 10 ** rng.uniform(-3, 3)
    others = np.roll(images[:OTHERS], 1, axis=-1)  # other images, in the same range
    return np.concatenate([images, others]).astype(np.float32)
