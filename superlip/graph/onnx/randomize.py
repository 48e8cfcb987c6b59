"""Weights and images for graphs that came without: seeded, of a realistic spread."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .rewrite import Prepared

__all__ = ["randomizer", "random_images"]

_CALIBRATION_IMAGES = 2


def random_images(seed: int, shape: Sequence[int], dtype: str = "float32") -> NDArray:
    """Images to calibrate with, shape (N, *shape[1:]): smooth, with noise, mean 0 and deviation 1.

    Integers have their mean between 0 and 255, of int8 at 0, and deviation 64.
    """
    rng = np.random.default_rng([seed, 1])
    images = rng.normal(size=(_CALIBRATION_IMAGES, *shape[1:]))
    if len(shape) == 4:
        h, w = shape[2:]
        coarse = rng.normal(size=(_CALIBRATION_IMAGES, shape[1], -(-h // 8), -(-w // 8)))
        images *= 0.6
        for row in range(h):  # one at a time: the image may be as large as the memory allows
            images[:, :, row] += 0.8 * coarse[:, :, row // 8].repeat(8, axis=-1)[..., :w]
    if dtype != "float32":
        limits = np.iinfo(dtype)
        middle = 0 if dtype == "int8" else 128
        return np.clip(np.rint(middle + 64 * images), max(limits.min, middle - 128), middle + 127).astype(dtype)
    return images.astype(np.float32)


def randomizer(seed: int) -> Callable[["Prepared"], bool]:
    """Function for ``rewrite.prepare`` that replaces placeholder weights; it returns whether there were any.

    A placeholder is a constant weight operand whose numbers are all equal. Weights become He-normal, biases small,
    BatchNormalization parameters those of a trained layer: gain and variance near 1, mean and shift near 0.
    """
    rng = np.random.default_rng([seed, 0])

    def apply(state):
        done = {}
        for node in state.nodes:
            for position, make in _MAKERS.get(node.op_type, {}).items():
                if position >= len(node.input):
                    continue
                name = node.input[position]
                old = state.consts.get(name)
                if old is None or name in done or old.dtype != np.float32 or old.size < 2:
                    continue
                if (old == old.reshape(-1)[0]).all():
                    state.consts[name] = make(rng, old.shape, node).astype(np.float32, copy=False)
                    done[name] = True
        if done:
            state.notes.append(f"{len(done)} placeholder weights were replaced by random ones (seed {seed})")
        return bool(done)

    return apply


def _conv_weights(rng, shape, node):
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / max(1, np.prod(shape[1:]))))


def _gemm_weights(rng, shape, node):
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / shape[1 if transposed else 0]))


def _near_zero(rng, shape, node):
    return 0.05 * rng.normal(size=shape)


def _near_one(rng, shape, node):
    return np.clip(1 + 0.1 * rng.normal(size=shape), 0.5, 1.5)


_MAKERS = {
    "Conv": {1: _conv_weights, 2: _near_zero},
    "Gemm": {1: _gemm_weights, 2: _near_zero},
    "MatMul": {1: _gemm_weights},
    "BatchNormalization": {1: _near_one, 2: _near_zero, 3: _near_zero, 4: _near_one},
    "Mul": {0: _near_one, 1: _near_one},
    "Add": {0: _near_zero, 1: _near_zero},
}
