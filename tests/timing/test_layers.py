"""To which layer a reckoned cycle belongs."""

import numpy as np

from superlip.rtl.isa import Unit
from superlip.timing.instructions import Instruction
from superlip.timing.layers import Run, add_layers


def instruction(unit, tag, offered, taken, done, last=-1, met=()):
    found = Instruction(int(unit), tag, [], [], {})
    found.offered, found.taken, found.done, found.last, found.met = offered, taken, done, last, list(met)
    return found


def layers(matmul, vector=(), load=(), *, end=200, first=True):
    units = [[] for _ in Unit]
    units[Unit.MATMUL], units[Unit.VECTOR], units[Unit.LOAD] = list(matmul), list(vector), list(load)
    found = np.zeros(4, np.int64)
    add_layers(found, Run([units], [end]), 0, {1, 3}, first=first)
    assert found.sum() == end
    return found.tolist()


MATMUL = instruction(Unit.MATMUL, 1, 10, 60, 120, last=100, met=[(Unit.LOAD, 60)])


def test_waiting_for_the_image_belongs_to_the_input():
    load = [instruction(Unit.LOAD, 0, 5, 5, 39), instruction(Unit.LOAD, 1, 6, 6, 59)]
    assert layers([MATMUL], load=load) == [30, 170, 0, 0]


def test_waiting_for_a_layer_without_weights_belongs_to_it():
    behind = instruction(Unit.MATMUL, 3, 90, 150, 190, last=180, met=[(Unit.VECTOR, 150)])
    vector = [instruction(Unit.VECTOR, 1, 50, 80, 119), instruction(Unit.VECTOR, 2, 90, 120, 149)]
    assert layers([MATMUL, behind], vector) == [0, 101, 30, 69]


def test_a_program_without_matmul():
    assert layers([], [instruction(Unit.VECTOR, 2, 20, 30, 149)]) == [70, 0, 130, 0]
