"""What the host runs between layers and at the end: where it begins and ends, and what its pieces share."""

import numpy as np
import pytest
from hosted import runs_on_host
from onnx import TensorProto, helper
from onnx_models import FloatNet
from qdq_models import QdqNet, assert_equal

from superlip import golden, graph
from superlip.graph import ir
from superlip.graph.onnx.importer.walk import import_model
from superlip.graph.session import open_session
from superlip.plan.lower import lower

SHAPE = (3, 8, 8)


def hosts(g):
    return [n for n in g.nodes if isinstance(n, ir.Host)]


def test_an_operator_that_the_array_lacks():
    net = FloatNet(SHAPE)
    x = net.op("ConvTranspose", net.conv("x", 6, 3), net.const(net.rng.normal(size=(6, 4, 2, 2))), strides=[2, 1])
    g = runs_on_host(net.model(net.conv(x, 4, 4)), "n1", "ConvTranspose runs in floating point", net.images(4))
    assert [type(n) for n in g.nodes] == [ir.Conv, ir.Host, ir.Conv]
    network = lower(g, 8)
    assert len(network.steps) == 1 and not network.host


def test_an_island_is_one_node_with_all_that_it_takes():
    """Other ranks inside, a constant, two values, and what two of its nodes take: one stop, nothing twice."""
    net = FloatNet(SHAPE)
    a, b = (net.op("Relu", net.conv("x", 4, 3)) for _ in range(2))
    tokens = [net.op("Reshape", x, net.const([1, 4, 64], np.int64)) for x in (a, b)]
    tokens = [net.op("Transpose", x, perm=[0, 2, 1]) for x in tokens]
    weights = net.op("Softmax", net.op("MatMul", tokens[0], net.op("Transpose", tokens[1], perm=[0, 2, 1])), axis=-1)
    mixed = net.op("Add", net.op("MatMul", weights, tokens[1]), tokens[0])
    mixed = net.op("Mul", mixed, net.const(np.linspace(0.5, 2, 4)))
    back = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1]), net.const([1, 4, 8, 8], np.int64))
    model = net.model(net.conv(back, 4, 4))
    name = next(n.name for n in model.graph.node if n.op_type == "Softmax")
    g = runs_on_host(model, name, "Softmax runs in floating point", net.images(4))
    (host,) = hosts(g)
    assert len(host.inputs) == 2 and host.onnx_names.count(name) == 1
    assert len(lower(g, 8).cuts) == 1


@pytest.mark.parametrize("is_output", [False, True])
def test_results_that_share_are_computed_once(is_output):
    """Two layers, or a layer and an output, take what one expensive operator gave."""
    net = FloatNet(SHAPE)
    x = net.op("LRN", net.conv("x", 4, 3), size=3)
    y, z = net.op("Softmax", x, axis=1), net.op("LogSoftmax", x, axis=1)
    last = net.conv(y, 4, 4), z if is_output else net.conv(z, 4, 4)
    g = runs_on_host(net.model(*last), "n1", "LRN runs", net.images(4))
    lrn = [n for n in hosts(g) if "n1" in n.onnx_names]
    assert len(lrn) == 1 and g.values[lrn[0].output].is_float
    assert len(hosts(g)) == 3 and len(lower(g, 8).cuts) == 1


def test_several_results_of_one_operator():
    net = FloatNet(SHAPE)
    x = net.op("Softmax", net.conv("x", 4, 3), axis=1)
    values, indices = net.op("TopK", x, net.const([2], np.int64), axis=1, outputs=2)
    indices = net.op("Cast", indices, to=TensorProto.FLOAT)
    model = net.model(net.op("Add", net.conv(values, 4, 2), net.conv(indices, 4, 2)))
    runs_on_host(model, "n2", "TopK runs in floating point", net.images(4), error=0.3)  # the order of equals


def test_integer_operators_in_the_models_own_numbers():
    """A mean over channels and rows: as the model has it, between accelerated ones."""
    net = QdqNet(SHAPE)
    x = net.op("Conv", net.both("x"), net.weights(4, 3, 3))
    x = net.op("Add", net.both(x), net.both(net.op("ReduceMean", net.both(x), net.const([1, 2], np.int64))))
    x = net.op("Conv", net.both(x), net.weights(4, 4))
    model = net.model(net.both(x))
    (name,) = [n.name for n in model.graph.node if n.op_type == "ReduceMean"]
    g = runs_on_host(model, name, "over other axes", net.images(3))
    assert [n for n in g.nodes if isinstance(n, ir.Host)]


@pytest.mark.parametrize("groups", [2, 4])
def test_weights_of_groups_that_leave_int8_without_their_zero_point(groups):
    """They take two passes, as others do: a group's channels come twice, one after the other."""
    net = QdqNet((4, 8, 8))
    integers = net.const(net.rng.integers(0, 256, (8, 4 // groups, 3, 3)), np.uint8)
    wide = net.dequantize(integers, scale=0.002, zero=np.uint8(40))
    model = net.model(net.both(net.op("Conv", net.both("x"), wide, group=groups)))
    g = assert_equal(model, net.images(3))
    assert [type(n) for n in g.nodes] == [ir.Shuffle, ir.Conv] and g.nodes[1].groups == groups


def test_quantized_operators_run_as_they_are():
    """QLinearConv with its channels last, uint8 in and out, between two that are accelerated."""
    net = FloatNet(SHAPE)
    names = [f"c{i}" for i in range(3)]
    scale, zero = net.const(0.05), net.const(128, np.uint8)
    weights = [net.rng.integers(-90, 90, shape).astype(np.int8) for shape in ((4, 3, 3, 3), (4, 4, 1, 1), (4, 4, 3, 3))]
    tensor = "x_q"
    nodes = [helper.make_node("QuantizeLinear", ["x", scale, zero], [tensor], name="q")]
    for i, name in enumerate(names):
        w, ws, wz = net.const(weights[i], np.int8), net.const(0.01), net.const(0, np.int8)
        operands = [tensor, scale, zero, w, ws, wz, scale, zero]
        if i == 1:
            nodes.append(helper.make_node("Transpose", [tensor], ["last"], perm=[0, 2, 3, 1], name="t"))
            nodes.append(helper.make_node("Transpose", ["last"], [f"{name}.x"], perm=[0, 3, 2, 1], name="swap"))
            operands[0] = f"{name}.x"
        nodes.append(helper.make_node("QLinearConv", operands, [f"{name}.y"], name=name))
        tensor = f"{name}.y"
    nodes.append(helper.make_node("DequantizeLinear", [tensor, scale, zero], ["y"], name="d"))
    model = net.model(net.conv("x", 1, 3))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.output[0].name = "y"
    g = runs_on_host(model, "t", "movement of elements", net.images(3))
    assert [type(n) for n in g.nodes] == [ir.Conv, ir.Host, ir.Conv, ir.Conv]
    assert not any(g.values[n.output].is_float for n in g.nodes)


def test_a_network_that_would_be_all_on_the_host_is_refused_with_the_reason():
    net = FloatNet((4, 8))
    x = net.op("MatMul", "x", net.const(net.rng.normal(size=(8, 5))))
    with pytest.raises(graph.ModelError, match=r"MatMul 'n0': .*only one vector.*with it on the host no convolution"):
        graph.load(net.model(x), random_weights=0)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_convolution_that_is_not_worth_a_stop(channels):
    """As detection heads have it: a mean of few numbers in the middle of what the host does anyway."""
    net = FloatNet(SHAPE)
    x = net.op("Reshape", net.op("Relu", net.conv("x", 16, 3)), net.const([1, 4, 4, 64], np.int64))
    x = net.op("Softmax", net.op("Transpose", x, perm=[0, 2, 1, 3]), axis=1)
    x = net.op("Reshape", net.conv(x, channels, 4, 1), net.const([1, -1, 64], np.int64))
    first, end, axis = (net.const([number], np.int64) for number in (0, 2, 1))
    x = net.op("Softmax", net.op("Slice", x, first, end, axis), axis=2)
    g = graph.load(net.model(x), calibrate=net.images(4))
    is_kept = channels > 1
    assert sum(isinstance(n, ir.Conv) for n in g.nodes) == 1 + is_kept
    assert bool(lower(g, 8).cuts) == is_kept
    verdicts = {row.node: row for row in graph.check(net.model(x))}
    last = [row for row in verdicts.values() if row.op == "Conv"][1]
    assert last.verdict == ("accelerator" if is_kept else "host") and ("1,024 multiplications" in last.why) != is_kept


def test_a_node_of_which_one_result_is_there_already():
    """Of a Split, one part is kept by the host for two of its islands, the other one taken by the first of them."""
    net = QdqNet(SHAPE)
    x = net.both(net.op("Conv", net.both("x"), net.weights(6, 3)))
    a, b = net.op("Split", x, net.const([3, 3], np.int64), outputs=2, axis=1)
    outputs = [net.op("Mul", net.op("Softmax", a, axis=1), b), net.op("Softmax", b, axis=1)]
    model, images = net.model(*outputs, opset=17), net.images(3)
    (split,) = [n.name for n in model.graph.node if n.op_type == "Split"]
    found, importer = import_model(model, "test", hosted={split: "so that it is there"})
    assert found is not None, importer.unsupported
    theirs = open_session(model.SerializeToString(), is_optimized=False)
    ours = golden.predict_graph(found, images)
    for position, name in enumerate(found.onnx_outputs):
        wanted = np.concatenate([theirs.run(None, {"x": image[None]})[position] for image in images])
        np.testing.assert_allclose(ours[name].reshape(wanted.shape), wanted, atol=1e-6)


def test_what_moves_results_of_the_host_stays_there():
    """A part of a Softmax that the host takes again is no work for the boards, and no stop."""
    net = QdqNet(SHAPE)
    x = net.both(net.op("Softmax", net.both(net.op("Conv", net.both("x"), net.weights(6, 3))), axis=1), scale=0.0041)
    part = net.op("Slice", x, *(net.const([n], np.int64) for n in (1, 5, 1)))
    model = net.model(net.both(net.op("Softmax", part, axis=1), scale=0.0041))
    found = assert_equal(model, net.images(3))
    assert [type(node) for node in found.nodes] == [ir.Conv, ir.Host, ir.Host]
    assert any(row.op == "Slice" and "moves what the host made" in row.why for row in graph.check(model))
