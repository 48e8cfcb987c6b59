"""The order of a program: which part of which layer comes next, so that MATMUL and VECTOR both have work.

Layers are cut in *tasks*: a convolution in weight blocks and chunks of rows, an operation of VECTOR's own in blocks of
rows of a channel group. A task may come as soon as those that make its inputs have come, so the layers of a window
overlap: while VECTOR adds or pools what is there already, MATMUL goes on with the next convolution. The order is
decided once, with a simple model of the two units, and the program is emitted in it; whatever happens when it runs,
`Emitter` sees to that the order is kept where it matters.
"""

from collections.abc import Sequence

import numpy as np

from .network import Network
from .tasks import Task
from .timing import RESULT_LATENCY

__all__ = ["order"]


class _Completion:
    """What the tasks so far have completed: for each word (group, row) of each operation's output, and when."""

    def __init__(self, network: Network, tasks: Sequence[Sequence[Task]]) -> None:
        self.writers = network.writers()
        self.left: list[np.ndarray] = []
        self.time: list[np.ndarray] = []
        for op, mine in zip(network.ops, tasks, strict=True):
            storage = op.output.storage
            left = np.zeros((storage.groups, storage.height), np.int32)
            for task in mine:
                for group0, group1, rows in task.makes:
                    left[group0:group1, rows] += 1
            self.left.append(left)
            self.time.append(np.zeros(left.shape))

    def ready(self, task: Task) -> float | None:
        """When the inputs of a task are complete; None if tasks that make them are still to come."""
        latest = 0.0
        for name, group0, group1, row0, row1 in task.needs:
            for writer in self.writers.get(name, ()):
                if writer >= task.op:
                    break
                if self.left[writer][group0:group1, row0:row1].any():
                    return None
                latest = max(latest, self.time[writer][group0:group1, row0:row1].max(initial=0.0))
        return latest

    def done(self, task: Task, time: float) -> None:
        """A task is complete at ``time``."""
        for group0, group1, rows in task.makes:
            self.left[task.op][group0:group1, rows] -= 1
            times = self.time[task.op]
            times[group0:group1, rows] = np.maximum(times[group0:group1, rows], time)


def order(network: Network, tasks: Sequence[Sequence[Task]], after: Sequence[int]) -> list[Task]:
    """All tasks in the order of the program.

    Among the convolutions that may come, the one that MATMUL can begin first, the earlier operation on a tie; in front
    of it VECTOR's own tasks that VECTOR can begin before the sums of that convolution are there.

    Parameters
    ----------
    tasks : list of list of Task
        Of each operation, in an order in which they can come.
    after : list of int
        Of an `Overlap`.

    Returns
    -------
    list of Task
    """
    completion = _Completion(network, tasks)
    at = [0] * len(tasks)
    result: list[Task] = []
    total = sum(map(len, tasks))
    matmul = vector = 0.0
    banks = [0.0, 0.0]  # when VECTOR has emptied the accumulators of the last two convolution tasks
    first, unfinished = 0, None
    while len(result) < total:
        while at[first] == len(tasks[first]):
            first += 1
        conv: tuple[float, Task] | None = None
        own: tuple[float, Task] | None = None
        for index in range(first, len(tasks)):
            if after[index] >= first:
                break
            if at[index] == len(tasks[index]):
                continue
            task = tasks[index][at[index]]
            is_conv = network.ops[index].is_conv
            if is_conv and unfinished not in (None, index):
                continue
            free = max(matmul, banks[0]) if is_conv else vector
            best = conv if is_conv else own
            if best is not None and best[0] <= free:
                continue
            ready = completion.ready(task)
            if ready is None:
                continue
            start = max(free, ready)
            if best is None or start < best[0]:
                if is_conv:
                    conv = start, task
                else:
                    own = start, task
        if own is not None and (conv is None or (own[0] < conv[0] + conv[1].matmul and not _collide(own[1], conv[1]))):
            start, task = own
            vector = start + task.vector
            completion.done(task, vector + RESULT_LATENCY)
        else:
            # Of the first unfinished operation's tasks one can always come.
            assert conv is not None
            start, task = conv
            unfinished = task.op if task.leaves_open else None
            matmul = start + task.matmul
            if task.vector:
                vector = max(vector, matmul) + task.vector
                banks = [banks[1], vector]
            completion.done(task, max(vector, matmul) + RESULT_LATENCY)
        at[task.op] += 1
        result.append(task)
    return result


def _collide(own: Task, conv: Task) -> bool:
    """Whether both read one storage, so most likely one bank, where MATMUL comes first."""
    return not {name for name, *_ in own.needs}.isdisjoint(name for name, *_ in conv.needs)
