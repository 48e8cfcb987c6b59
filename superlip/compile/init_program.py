"""The init program: what stays on chip from image to image."""

import numpy as np

from superlip.rtl.isa import Memory

from .context import Context
from .moves import load_words
from .program import Emitter
from .weights import parameter_blocks

__all__ = ["emit_init"]


def emit_init(context: Context) -> list[int]:
    """Programs that load the parameters, tables and weights that stay, once: byte addresses, by board."""
    emitter, plan = Emitter(context.config, context.plan.boards), context.plan
    streamed = set(plan.streamed)
    blocks = [
        (index, key, words)
        for index, (op, tiles) in enumerate(zip(context.network.ops, plan.tiles, strict=True))
        if index not in streamed
        for key, words in parameter_blocks(op, tiles, context.config.tn).items()
    ]
    for board, image in enumerate(context.dram.images):
        if blocks:
            # One behind the other in the buffer, too.
            first = plan.activations[board].parameters[blocks[0][0]][blocks[0][1]]
            joined = np.concatenate([words for _, _, words in blocks])
            load_words(emitter, board, 0, Memory.ACT, first, image.place(joined), len(joined))
    for board, weights in enumerate(plan.weights):
        for key, address in weights.residents.items():
            dram, words = context.dram.weights[board][key], weights.blocks[key].words
            load_words(emitter, board, key[0] + 1, Memory.WEIGHT, address, dram, words)
    return [
        image.place_program(program[0]) for image, program in zip(context.dram.images, emitter.finish(), strict=True)
    ]
