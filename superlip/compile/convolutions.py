"""Convolutions: FEED and MATMUL, and VECTOR for their sums."""

import numpy as np

from superlip.plan.blocks import portions
from superlip.plan.chunks import Chunk
from superlip.plan.tasks import WeightStep
from superlip.rtl.isa import Memory, Opcode, VectorOp

from .context import Context
from .program import ACC, Access
from .program_state import ProgramState
from .stages import Stages
from .vector import VectorWork
from .weight_stream import BlockPlace

__all__ = ["Convolutions"]


class Convolutions:
    """Emits the steps of convolutions."""

    def __init__(self, context: Context, state: ProgramState, stages: Stages, vector: VectorWork) -> None:
        self.context, self.state, self.stages, self.vector = context, state, stages, vector

    def emit(self, step: WeightStep, weights: BlockPlace) -> None:
        """FEED, MATMUL and, behind the last block, VECTOR, SEND and STORE for each chunk of a step.

        Parameters
        ----------
        step : WeightStep
            Its input is staged.
        weights : BlockPlace
            Of its block. While a block is loaded, it is fed in the portions in which it comes.
        """
        op, block = self.context.network.ops[step.op], step.block
        fresh = portions(block, self.context.config.tm) if weights.fresh else [(0, block.words)]
        for number, chunk in enumerate(step.chunks):
            if step.first:
                self.state.banks[step.board] ^= 1
            acc = self.state.banks[step.board] * self.context.config.acc_words // 2
            sums = Access(ACC, np.arange(acc, acc + chunk.sums(op)))
            for at, count in fresh if number == 0 else [(0, block.words)]:
                address = weights.address + at
                self.state.emitter.emit(
                    step.board, Opcode.FEED, tag=step.op + 1,
                    reads=[Access(Memory.WEIGHT, np.arange(address, address + count))],
                    weights=address, sets=count // block.rows, rows=block.rows,
                )  # fmt: skip
            for n0, n1 in self._portions(step):
                self._matmul(step, chunk, acc, sums, n0, n1)
            if step.last:
                self._requantize(step, chunk, acc, sums)

    def _portions(self, step: WeightStep) -> list[tuple[int, int]]:
        """N-tiles [n0, n1) of each MATMUL. Where VECTOR makes them in large blocks, the first tile takes them one by
        one: those that are there already while others come."""
        op, block = self.context.network.ops[step.op], step.block
        first = step.tile.group == self.context.plan.parts[step.op][step.board].group0
        if first and op.inputs[0].storage.name in self.context.made_by_columns:
            return [(n, n + 1) for n in range(block.n0, block.n1)]
        return [(block.n0, block.n1)]

    def _matmul(self, step: WeightStep, chunk: Chunk, acc: int, sums: Access, n0: int, n1: int) -> None:
        """For n-tiles [n0, n1) of the step's block."""
        op, block = self.context.network.ops[step.op], step.block
        source = self.stages.source(op.inputs[0], step.board)
        _, (sy, sx), (top, left, *_), (dy, dx) = op.window
        low, high = op.input_rows(chunk.row0, chunk.row1)
        row0, row1, col0, col1 = op.sums(chunk.row0, chunk.row1, chunk.col0, chunk.col1)
        self.state.emitter.emit(
            step.board, Opcode.MATMUL, tag=step.op + 1, writes=[sums],
            reads=[Access(Memory.ACT, source.region(n0, n1, low, high))],
            act=source.address(n0, source.row0), plane=source.plane, pitch=source.width,
            # Rows that are not held are rows outside the image: the height ends where the image ends.
            height=source.rows, width=source.width,
            y0=row0 * sy - top + block.ky0 * dy - source.row0, x0=col0 * sx - left,
            stride_y=sy, stride_x=sx, kh=block.ky1 - block.ky0, kw=block.columns,
            fold=block.fold.bit_length() - 1, dilation_y=dy, dilation_x=dx * block.fold,
            n_tiles=n1 - n0,
            rows=row1 - row0, cols=col1 - col0, acc=acc, accumulate=int(not step.first or n0 > block.n0),
            zero_point=op.zero_points[0],
        )  # fmt: skip

    def _requantize(self, step: WeightStep, chunk: Chunk, acc: int, sums: Access) -> None:
        """VECTOR for the sums of a chunk, pooled where a pooling is fused."""
        op, tile = self.context.network.ops[step.op], step.tile
        node = op.conv
        (ky, kx), (sy, sx), (top, left, *_) = (
            ((1, 1), (1, 1), (0, 0)) if op.pool is None else (op.pool.kernel, op.pool.strides, op.pool.pads)
        )
        row0, row1, col0, col1 = op.sums(chunk.row0, chunk.row1, chunk.col0, chunk.col1)
        reads = [sums]
        parameters = self.vector.parameters(step.board, step.op, tile.group, reads)
        self.vector.write(
            step.op, step.board, tile.group, (tile.first_lane, tile.end_lane), chunk, reads,
            {
                "op": VectorOp.REQUANTIZE, "source": acc, "pitch": col1 - col0, "height": row1 - row0,
                "width": col1 - col0, "y0": chunk.row0 * sy - top - row0, "x0": chunk.col0 * sx - left - col0,
                "stride_y": sy, "stride_x": sx, "kh": ky, "kw": kx,
                "zp_out": op.zero_points[-1] if node.table is None else node.table_zero_point,
                "low": node.low, "high": node.high, "use_table": int(node.table is not None),
                "lane_max": op.pixels.bit_length() - 1, **parameters,
            },
        )  # fmt: skip
