"""From a planned network to programs and memory images.

One program of an image a board: LOAD brings the image and the weights that don't stay on chip, MATMUL and VECTOR
compute task by task, in the plan's order; what they write is sent to the boards that need it as soon as it is
written, STORE writes what goes to DRAM. The order is sequential; `Emitter` makes it concurrent. Host operations
between layers cut the program in segments: STORE, the host, LOAD.
"""

from superlip.boards import Target
from superlip.plan.network import Network
from superlip.plan.planner import Plan

from .compiled import Compiled
from .context import make_context
from .errors import CompileError
from .image_programs import emit_image_programs
from .init_program import emit_init
from .liveness import prove_liveness

__all__ = ["CompileError", "compile_network"]


def compile_network(network: Network, plan: Plan, target: Target) -> Compiled:
    """Compile a network.

    Parameters
    ----------
    network : Network
    plan : Plan
        Of this network for this target.
    target : Target

    Raises
    ------
    CompileError
        If weights do not fit beside each other when they are needed, or a board's DRAM is full; or if what was compiled
        could stop before its end (`liveness`), which would be a mistake of the compiler.
    """
    try:
        context = make_context(network, plan, target)
        images = emit_image_programs(context, emit_init(context))
        compiled = Compiled(network, target, plan.splits, images, context.given_rows, context.owners, plan.in_dram)
        compiled.liveness = prove_liveness(target.node, *compiled.programs())
        return compiled
    except CompileError:
        raise
    except ValueError as error:
        raise CompileError(f"{network.graph.name} on node {target.name}: {error}") from error
