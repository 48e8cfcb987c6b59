"""Networks with channels last, as Keras has them, written with channels first.

Exporters put a Transpose in front of each convolution and one behind it. What stands between the second and the next
first one computes the same with its channels elsewhere, so that both may go: such nodes, with the tensors that join
them, are a region, which is turned as a whole where that leaves fewer Transposes than before. To move elements rounds
nothing, so it is done to float and to quantized models alike.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from onnx import NodeProto, helper

from .onnxtools import attributes
from .turned import Operands, Order, change_of

if TYPE_CHECKING:
    from .rewrite import Prepared

__all__ = ["put_channels_first"]

_WHY = "the layout: channels stay first"


@dataclass
class _Region:
    """Tensors that are turned together, and the nodes between them."""

    tensors: list[str] = field(default_factory=list)
    nodes: list[NodeProto] = field(default_factory=list)


@dataclass
class _Border:
    """Where a region ends: tensors that Transposes make, and Transposes of tensors, which go; tensors that get one."""

    sources: dict[str, NodeProto] = field(default_factory=dict)
    sinks: dict[str, list[NodeProto]] = field(default_factory=dict)
    entries: list[str] = field(default_factory=list)
    exits: list[str] = field(default_factory=list)


def put_channels_first(state: "Prepared") -> int:
    """Turn regions of a model, in place, until none is left for which that is better; how many there were."""
    count = 0
    for order in (Order(4), Order(3)):
        while any(node.op_type == "Transpose" for node in state.nodes):
            turned = _Turner(state, order).turn()
            if not turned:
                break
            count += turned
    return count


class _Turner:
    """Regions of tensors of one rank, as the model is now."""

    def __init__(self, state: "Prepared", order: Order) -> None:
        self.state = state
        self.order = order
        self.makers = state.makers()
        self.users = state.users()
        self.operands = Operands(state, order)

    def turn(self) -> int:
        """Turn what is better so, each tensor once; how many regions that were."""
        touched: set[str] = set()
        count = 0
        for region in self._regions():
            border = self._border(region)
            around = {node.input[0] for node in border.sources.values()}
            around.update(sink.output[0] for sinks in border.sinks.values() for sink in sinks)
            if not self._is_better(region, border) or not touched.isdisjoint((*region.tensors, *around)):
                continue
            touched.update(region.tensors, around)
            self._turn(region, border)
            count += 1
        return count

    # ---- regions

    def _regions(self) -> list[_Region]:
        """Tensors of the rank, those in one region that a node joins which can be turned."""
        parent = {
            name: name
            for name, shape in self.state.shapes.items()
            if len(shape) == self.order.rank and name not in self.state.consts and name not in self.operands.dequantized
        }

        def root(name):
            while parent[name] != name:
                parent[name] = parent[parent[name]]
                name = parent[name]
            return name

        joining = []
        for node in self.state.nodes:
            tensors = [name for name in (*node.input, *node.output) if name in parent]
            if tensors and self._is_turnable(node, parent):
                joining.append((node, tensors[0]))
                for name in tensors[1:]:
                    parent[root(name)] = root(tensors[0])
        regions: dict[str, _Region] = {}
        for name in parent:
            regions.setdefault(root(name), _Region()).tensors.append(name)
        for node, name in joining:
            regions[root(name)].nodes.append(node)
        return list(regions.values())

    def _is_turnable(self, node: NodeProto, tensors: Container[str]) -> bool:
        moving = [n for n in node.input if n and n not in self.state.consts and n not in self.operands.dequantized]
        is_known = all(name in tensors for name in moving) and all(o in self.state.shapes for o in node.output if o)
        return bool(moving) and is_known and change_of(self.operands, node) is not None

    def _is_vector(self, name: str) -> bool:
        """Whether the numbers of a tensor are in one order, whichever axes they lie along."""
        shape = self.state.shapes.get(name)
        return shape is not None and sum(size != 1 for size in shape) <= 1

    def _reshapes_vector(self, node: NodeProto) -> bool:
        """Whether a node gives the numbers of a vector another shape."""
        is_reshape = node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
        return is_reshape and self._is_vector(node.input[0]) and self._is_vector(node.output[0])

    def _border(self, region: _Region) -> _Border:
        inside = {id(node) for node in region.nodes}
        border = _Border()
        for name in region.tensors:
            maker = self.makers.get(name)
            if maker is not None and _is_transpose(maker, self.order.to_last):
                border.sources[name] = maker
            elif maker is None or not (id(maker) in inside or self._reshapes_vector(maker)):
                border.entries.append(name)
            is_taken = name in self.state.outputs
            for user in self.users.get(name, ()):
                if _is_transpose(user, self.order.to_first):
                    border.sinks.setdefault(name, []).append(user)
                else:
                    is_taken |= not (id(user) in inside or self._reshapes_vector(user))
            if is_taken and name not in border.entries:  # what is there as it was can still be taken so
                border.exits.append(name)
        return border

    def _is_better(self, region: _Region, border: _Border) -> bool:
        """Whether fewer Transposes are left, or as many, but right behind the model's input. Vectors hardly count."""

        def weight(names: Iterable[str]) -> int:
            return sum(1 if self._is_vector(name) else 1000 for name in names)

        gone = weight([*border.sources, *(name for name, sinks in border.sinks.items() for _ in sinks)])
        added = weight(border.entries) + weight(border.exits)
        from_input = bool(region.nodes and border.entries) and self.state.inputs.issuperset(border.entries)
        return gone > added or (gone == added and from_input and not border.exits)

    # ---- turning

    def _turn(self, region: _Region, border: _Border) -> None:
        names = {name: _name_of(border, name) for name in region.tensors}
        for name, new in names.items():
            self.state.shapes[new] = tuple(self.state.shapes[name][axis] for axis in self.order.to_first)
        for sinks in border.sinks.values():
            for sink in sinks:
                self.state.remove(sink, "folded", f"into {_WHY}")
        for node in region.nodes:
            self._turn_node(node, names)
        self._turn_reshapes(region, names)
        for name, sinks in border.sinks.items():
            for sink in sinks:
                self._give(names[name], sink)
        for name in border.entries:
            self._insert_transpose(name, names[name], self.order.to_first)
        for name, maker in border.sources.items():
            if name not in border.exits:
                self.state.remove(maker, "folded", f"into {_WHY}")
        for name in border.exits:
            if name not in border.sources:
                self._insert_transpose(names[name], name, self.order.to_last)

    def _turn_node(self, node: NodeProto, names: Mapping[str, str]) -> None:
        change = change_of(self.operands, node)
        assert change is not None
        for position, array in change.operands.items():
            node.input[position] = self.state.constant(f"{node.name}/operand{position}", array)
        for position, dequantize in change.dequantized.items():
            dequantize.input[0] = self.state.constant(
                f"{dequantize.name}/turned", self.order.turned(self.state.consts[dequantize.input[0]])
            )
            at = next(i for i, n in enumerate(self.state.nodes) if n is node)
            self.state.nodes.insert(at, dequantize)
            node.input[position] = dequantize.output[0]
        kept = [a for a in node.attribute if a.name not in change.attributes]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(n, value) for n, value in change.attributes.items())])
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]

    def _give(self, turned: str, sink: NodeProto) -> None:
        """Let those that took a Transpose's result take the turned tensor."""
        result = sink.output[0]
        if result == turned:
            return
        if result not in self.state.outputs:
            self.state.rename(result, turned)
            return
        last = max((i for i, n in enumerate(self.state.nodes) if turned in n.output), default=-1)
        same = helper.make_node("Identity", [turned], [result], name=f"{sink.name}/identity")
        self.state.nodes.insert(last + 1, same)

    def _insert_transpose(self, source: str, result: str, perm: tuple[int, ...]) -> None:
        """A Transpose right behind what makes its operand."""
        at = next((i for i, n in enumerate(self.state.nodes) if source in n.output), -1)
        base = self.state.nodes[at].name if at >= 0 else source
        node = helper.make_node("Transpose", [source], [result], name=f"{base}/transpose", perm=list(perm))
        self.state.nodes.insert(at + 1, node)

    def _turn_reshapes(self, region: _Region, names: Mapping[str, str]) -> None:
        """What gives vectors another shape, from or to turned tensors, says the shape as it is now."""
        around = [self.makers.get(name) for name in region.tensors]
        around += [user for name in region.tensors for user in self.users.get(name, ())]
        for node in {id(node): node for node in around if node is not None}.values():
            source, result = (names.get(name, name) for name in (node.input[0], node.output[0]))
            if self._reshapes_vector(node):
                shape = self.state.constant(f"{node.name}/shape", np.array(self.state.shapes[result], np.int64))
                node.CopyFrom(helper.make_node("Reshape", [source, shape], [result], name=node.name))


def _is_transpose(node: NodeProto, perm: tuple[int, ...]) -> bool:
    return node.op_type == "Transpose" and tuple(attributes(node).get("perm", ())) == perm


def _name_of(border: _Border, name: str) -> str:
    """What a turned tensor is called: as what holds the same numbers already, if there is such a one."""
    if name in border.sources:
        return border.sources[name].input[0]
    if name in border.sinks:
        return border.sinks[name][0].output[0]
    return f"{name}/channels_first"
