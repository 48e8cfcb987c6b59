"""Models that are damaged, too large or of another kind: each is refused in one line that names what is wrong."""

import subprocess
import sys
import tracemalloc

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import FloatNet, model, node
from onnxruntime.quantization import quantize_dynamic

from superlip import golden, graph
from superlip.api import plan
from superlip.graph.errors import one_line
from superlip.graph.onnx.importer.emit import concat_axis
from superlip.graph.onnx.importer.states import Unsupported
from superlip.graph.onnx.randomize import random_images
from superlip.graph.onnx.validate import why_it_does_not_run
from superlip.graph.onnx.views import View


def plain(*, opset=17):
    """Conv 'n0' (3x3, padding, weights c1, bias c0), Relu 'n1', Flatten 'n2', Gemm 'n3' (c2, c3)."""
    net = FloatNet((3, 6, 6))
    x = net.op("Relu", net.conv("x", 4, 3))
    return net.model(net.dense(net.op("Flatten", x), 5, 144), opset=opset)


def quantized(constants=None, **attributes):
    """QuantizeLinear, QLinearConv of 8 filters, DequantizeLinear; ``constants`` take the place of the usual ones."""
    rng = np.random.default_rng(0)
    usual = {
        "xs": np.float32(0.1), "xz": np.uint8(120), "w": rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8),
        "ws": np.full(8, 0.01, np.float32), "wz": np.zeros(8, np.int8), "ys": np.float32(0.3), "yz": np.uint8(128),
        "b": rng.integers(-500, 500, 8).astype(np.int32),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        node("QLinearConv", ["xq", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["yq"], **attributes),
        node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]
    return model(nodes, {"x": (np.float32, ["N", 3, 6, 6])}, ["y"], usual | (constants or {}))


def refused(net, *texts):
    """Loading is refused in one line that holds every text, and so is the report of the nodes."""
    with pytest.raises(graph.ModelError) as caught:
        graph.load(net, random_weights=0)
    message = str(caught.value)
    assert "\n" not in message and "[ONNXRuntimeError]" not in message and ".cc:" not in message
    for text in texts:
        assert text in message
    return message


def initializer(net, name):
    return next(t for t in net.graph.initializer if t.name == name)


def change(net, name, array):
    initializer(net, name).CopyFrom(numpy_helper.from_array(np.asarray(array), name))
    return net


# -- tensors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "texts"),
    [
        ("raw_data", b"\0" * 7, ["'c0'", "(4,)", "16 bytes", "holds 7"]),
        ("raw_data", b"", ["'c0'", "16 bytes", "holds 0"]),
        ("dims", [4, 3], ["'c0'", "(4, 3)", "48 bytes", "holds 16"]),
        ("dims", [-4], ["'c0'", "negative dimension: (-4,)"]),
        ("dims", [1 << 40], ["'c0'", "1099511627776"]),
        ("data_type", 0, ["'c0'", "type 0"]),
        ("data_type", 77, ["'c0'", "type 77"]),
        ("data_type", TensorProto.DOUBLE, ["'c0'", "double", "32 bytes", "holds 16"]),
        ("data_type", TensorProto.STRING, ["'c0'", "STRING"]),
        ("data_location", TensorProto.EXTERNAL, ["'c0'", "another file"]),
    ],
)
def test_constants_whose_data_do_not_agree(field, value, texts):
    net = plain()
    tensor = initializer(net, "c0")
    if field == "dims":
        del tensor.dims[:]
        tensor.dims.extend(value)
    else:
        setattr(tensor, field, value)
    if field == "data_location":
        tensor.ClearField("raw_data")
    refused(net, *texts)


def test_constants_in_nodes_are_looked_at_too():
    net = plain()
    tensor = TensorProto(data_type=TensorProto.FLOAT, dims=[1 << 40])
    net.graph.node.insert(0, helper.make_node("Constant", [], ["made"], name="big", value=tensor))
    refused(net, "Constant 'big'", "(1099511627776,)")
    net.graph.node[0].name = ""
    refused(net, "Constant 'made'")


def test_values_outside_of_raw_data():
    """Typed fields are as good, and their length is checked, too."""
    net = plain()
    values = numpy_helper.to_array(initializer(net, "c0"))
    initializer(net, "c0").CopyFrom(helper.make_tensor("c0", TensorProto.FLOAT, [4], values))
    graph.load(net, random_weights=0)
    initializer(net, "c0").float_data.append(1.0)
    refused(net, "'c0'", "4 values", "holds 5")


def sparse(net, indices):
    values = numpy_helper.to_array(initializer(net, "c0"))[:2]
    net.graph.initializer.remove(initializer(net, "c0"))
    tensor = helper.make_sparse_tensor(
        numpy_helper.from_array(values, "c0"), numpy_helper.from_array(np.asarray(indices, np.int64), "i"), [4]
    )
    net.graph.sparse_initializer.append(tensor)
    return values


@pytest.mark.parametrize("indices", [[1, 3], [[1], [3]]])
def test_sparse_constants_are_made_dense(indices):
    net, dense = plain(), plain()
    values = sparse(net, indices)
    change(dense, "c0", np.array([0, values[0], 0, values[1]], np.float32))
    found, wanted = (graph.load(m, random_weights=0).nodes[0].bias for m in (net, dense))
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("indices", [[1, 4], [-1, 2], [[1, 0], [2, 0]], [1, 2, 3]])
def test_sparse_constants_whose_indices_do_not_fit(indices):
    net = plain()
    sparse(net, indices)
    refused(net, "sparse constant 'c0'", "indices")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("name", "label"), [("c1", "Conv 'n0'"), ("c0", "Conv 'n0'"), ("c2", "Gemm 'n3'")])
def test_constants_that_are_not_finite(name, label, value):
    net = plain()
    array = numpy_helper.to_array(initializer(net, name)).copy()
    array.reshape(-1)[1] = value
    refused(change(net, name, array), label, repr(name), str(value), f"1 of {array.size}")


def test_an_infinite_bound_is_no_bound():
    net = FloatNet((3, 6, 6))
    x = net.op("Clip", net.conv("x", 4, 3), net.const(0), net.const(np.inf))
    graph.load(net.model(net.conv(x, 4, 4)), random_weights=0)


# -- quantization --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -0.1])
@pytest.mark.parametrize(("name", "label"), [("xs", "QuantizeLinear"), ("ws", "QLinearConv"), ("ys", "QLinearConv")])
def test_scales_that_are_no_positive_numbers(name, label, value):
    scale = np.full(8, 0.01, np.float32) if name == "ws" else np.float32(value)
    scale.reshape(-1)[-1:] = value
    refused(quantized({name: scale}), label, repr(name), str(np.float32(value)))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, -0.1])
@pytest.mark.parametrize("name", ["xs", "ws", "ys"])
def test_scales_that_are_computed(name, value):
    """A constant that a node makes of others is no better; neither is one that is an attribute."""
    net = quantized()
    net.graph.initializer.remove(initializer(net, name))
    size = 8 if name == "ws" else 1
    net.graph.node.insert(0, helper.make_node("Reshape", ["made", "shape"], [name], name="scale"))
    net.graph.node.insert(0, helper.make_node("Constant", [], ["made"], value_floats=[value] * size))
    net.graph.initializer.append(numpy_helper.from_array(np.array([size] if size > 1 else [], np.int64), "shape"))
    refused(net)
    net = quantized()
    net.graph.initializer.remove(initializer(net, name))
    net.graph.node.insert(0, helper.make_node("Constant", [], [name], value_float=value))
    refused(net, repr(name))


def test_scales_whose_quotient_is_no_number():
    """Each is a number; products of them are not."""
    with pytest.raises(graph.ModelError, match="scale") as caught:
        graph.load(quantized({"xs": np.float32(1e30), "ws": np.full(8, 1e30, np.float32), "ys": np.float32(1e-9)}))
    assert "qlinearconv" in str(caught.value)


@pytest.mark.parametrize("zero", [np.zeros(7, np.int8), np.zeros((8, 2), np.int8), np.zeros(8, np.float32)])
def test_zero_points_of_another_shape_or_type(zero):
    refused(quantized({"wz": zero}), "qlinearconv")


@pytest.mark.parametrize("shape", [(), (8,), (8, 1), (1, 8)])
def test_zero_points_of_a_bias(shape):
    """ONNX Runtime takes the zero points of a bias in any shape of the right size."""
    rng = np.random.default_rng(1)
    constants = {
        "xs": np.float32(2**-3), "xz": np.uint8(120), "ws": np.full(8, 2**-7, np.float32), "wz": np.zeros(8, np.int8),
        "w": rng.integers(-127, 128, (8, 3, 3, 3)).astype(np.int8), "b": rng.integers(-500, 500, 8).astype(np.int32),
        "bs": np.full(8, 2**-10, np.float32) if shape else np.float32(2**-10), "bz": np.zeros(shape, np.int32),
        "ys": np.float32(2**-2), "yz": np.uint8(128),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xr"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wr"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["br"], axis=0),
        helper.make_node("Conv", ["xr", "wr", "br"], ["yr"]),
        helper.make_node("QuantizeLinear", ["yr", "ys", "yz"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]),
    ]
    found = graph.load(model(nodes, {"x": (np.float32, ["N", 3, 6, 6])}, ["y"], constants))
    images = rng.normal(size=(2, 3, 6, 6)).astype(np.float32)
    assert golden.reference(found, images).mismatches == 0


def test_dynamic_quantization(tmp_path):
    onnx.save(plain(), tmp_path / "float.onnx")
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "dynamic.onnx")
    refused(onnx.load(tmp_path / "dynamic.onnx"), "DynamicQuantizeLinear", "dynamic quantization", "quantize_static")


# -- attributes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "attributes",
    [
        {"pads": [1, 1]}, {"pads": [1] * 5}, {"pads": [-1, 0, 0, 0]}, {"strides": [1]}, {"strides": [0, 1]},
        {"strides": [-2, -2]}, {"dilations": [1, 1, 1]}, {"dilations": [0, 1]}, {"kernel_shape": [3]},
        {"kernel_shape": [2, 3]}, {"group": 0}, {"group": 3}, {"group": -1}, {"auto_pad": "SAME"}, {"axis": 3},
    ],
)  # fmt: skip
@pytest.mark.parametrize("is_quantized", [False, True])
def test_attributes_of_a_convolution(attributes, is_quantized):
    if is_quantized:
        refused(quantized(**attributes), "qlinearconv", *attributes)
        return
    net = plain()
    conv = net.graph.node[0]
    kept = [a for a in conv.attribute if a.name not in attributes]
    del conv.attribute[:]
    conv.attribute.extend([*kept, *(helper.make_attribute(k, v) for k, v in attributes.items())])
    refused(net, "Conv 'n0'")


@pytest.mark.parametrize(
    "attributes", [{"kernel_shape": [2]}, {"kernel_shape": [0, 2]}, {"kernel_shape": [2, 2], "pads": [1]}, {}]
)
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_attributes_of_a_pooling(op, attributes):
    net = FloatNet((3, 6, 6))
    x = net.op(op, net.conv("x", 4, 3), **attributes)
    refused(net.model(net.conv(x, 4, 4)), f"{op} 'n1'")


# -- the graph -----------------------------------------------------------------------------------------------


def test_nodes_in_any_order():
    """ONNX asks for an order, ONNX Runtime finds one itself."""
    net, other = plain(), plain()
    backwards = list(net.graph.node)[::-1]
    del net.graph.node[:]
    net.graph.node.extend(backwards)
    found, wanted = (graph.load(m, random_weights=0) for m in (net, other))
    image = np.zeros((1, 3, 6, 6), np.int8)
    for name in wanted.outputs:
        np.testing.assert_array_equal(golden.run(found, image)[name], golden.run(wanted, image)[name])


def test_nodes_in_a_circle():
    net = plain()
    net.graph.node[1].input[0] = net.graph.node[2].output[0]
    refused(net, "circle", "n1 > n2 > n1")


def test_a_tensor_that_nothing_gives():
    net = plain()
    net.graph.node[1].input[0] = "nowhere"
    refused(net, "Relu 'n1' takes 'nowhere'")


@pytest.mark.parametrize(("name", "giver"), [("n0_0", "Conv 'n0'"), ("x", "an input"), ("c0", "a constant")])
def test_a_tensor_that_is_given_twice(name, giver):
    net = plain()
    net.graph.node[1].output[0] = name
    refused(net, f"Relu 'n1' gives {name!r}, which {giver} gives already")


def test_outputs():
    net = plain()
    net.graph.output.append(net.graph.output[0])
    refused(net, "'n3_0' more than once")
    net = plain()
    net.graph.output[0].name = "nowhere"
    refused(net, "'nowhere'")


def test_inputs_that_are_no_numbers():
    net = plain()
    net.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    refused(net, "'x' holds text")
    net.graph.input[0].CopyFrom(helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6]))
    refused(net, "'x' is no tensor")


def test_control_flow():
    net = plain()
    net.graph.node[1].attribute.append(helper.make_attribute("then_branch", net.graph))
    refused(net, "Relu 'n1' has a subgraph")


@pytest.mark.parametrize(
    ("nodes", "texts"),
    [
        ([("Add", ["x", "c"], {})], ["Add 'n0'", "Incompatible dimensions"]),
        ([("Cast", ["x"], {"to": 10_000})], ["'n0'"]),
        ([("Relu", ["x"], {"alpha": 1.0})], ["Relu 'n0'", "alpha"]),
        ([("Relu", ["x", "x"], {})], ["Relu 'n0'"]),
        ([("Concat", ["x", "c"], {"axis": 1})], ["Concat 'n0'"]),
        ([("Slice", ["x", "i", "i"], {})], ["Slice 'n0'", "no elements"]),
        # without a name in ONNX Runtime's words
        ([("Relu", ["x"], {}), ("LRN", ["r"], {"size": 4})], ["LRN 'n1'", "size_ % 2 == 1 was false"]),
    ],
)
def test_what_onnx_runtime_refuses(nodes, texts):
    """Its own words, and the user's name of the node."""
    constants = {"c": np.zeros((3, 6, 5), np.float32), "i": np.array([2], np.int64)}
    made = [
        helper.make_node(op, i, ["y" if k == len(nodes) - 1 else "r"], name=f"n{k}", **a)
        for k, (op, i, a) in enumerate(nodes)
    ]
    refused(model(made, {"x": (np.float32, ["N", 3, 6, 6])}, ["y"], constants), *texts)


def test_concatenation_of_different_sizes():
    """Pads so large that the operands differ: refused at the front, not in the scheduler."""
    net = FloatNet((6, 6, 6))
    a = net.conv("x", 6, 6)
    x = net.op("Concat", a, net.conv(a, 6, 6, 1, pads=[255] * 4), axis=1)
    refused(net.model(net.conv(x, 7, 12)), "Concat 'n2'")
    views = [View("a", (1, 6, 6, 6)), View("b", (1, 6, 516, 516))]  # where ONNX Runtime knows no shapes
    with pytest.raises(Unsupported, match="different sizes"):
        concat_axis(None, views, 1)


@pytest.mark.parametrize("version", [0, -1, 1 << 40])
def test_opsets_that_are_none(version):
    net = plain()
    net.opset_import[0].version = version
    refused(net, f"opset {version} of the domain ''")


def test_names_that_are_no_text(tmp_path):
    data = plain().SerializeToString()
    (tmp_path / "damaged.onnx").write_bytes(data.replace(b"Relu", b"Re\xff\xfe"))
    refused(tmp_path / "damaged.onnx", "UTF-8")


@pytest.mark.parametrize("size", [1, 7, 9])
def test_a_bias_of_another_size(size):
    refused(quantized({"b": np.zeros(size, np.int32)}), "qlinearconv", f"bias of {size} numbers for 8")


def test_constants_that_cannot_be_computed():
    net = quantized()
    net.graph.initializer.remove(initializer(net, "ys"))
    net.graph.node.insert(0, helper.make_node("Gather", ["ws", "i"], ["ys"], name="pick"))
    net.graph.initializer.append(numpy_helper.from_array(np.int64(31), "i"))
    refused(net, "Gather 'pick'", "idx=31")


def test_what_onnx_runtime_does_with_a_model():
    """In a process of its own: it looks for a zero point that is not there, and ends."""
    assert why_it_does_not_run(plain().SerializeToString()) is None
    nodes = [node("QLinearSigmoid", ["x", "s", "z", "s"], ["y"])]
    net = model(nodes, {"x": (np.uint8, [1, 3, 8, 8])}, ["y"], {"s": np.float32(0.05), "z": np.uint8(1)})
    assert why_it_does_not_run(net.SerializeToString()).startswith("it ends with SIG")  # ABRT or SEGV
    net = quantized({"b": np.zeros(7, np.int32)})
    assert "bias" in why_it_does_not_run(net.SerializeToString())


# -- sizes ---------------------------------------------------------------------------------------------------


LIMIT = 2 << 30
MEASURE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
from superlip import graph
try:
    graph.load(sys.argv[1], random_weights=0)
except graph.ModelError as error:
    print(error)
# Not ru_maxrss: that begins with what the tests' own process held when it started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


def inserted(op, constants, **attributes):
    """Conv, an operator with constant operands, and a convolution of it."""
    net = FloatNet((3, 6, 6))
    x = net.conv("x", 3, 3)
    operands = [net.const(a, np.asarray(a).dtype) for a in constants]
    made = net.op(op, *([] if op == "ConstantOfShape" else [x]), *operands, **attributes)
    return net.model(net.conv(net.op("Add", made, x) if op == "ConstantOfShape" else made, 4, 3))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: FloatNet((3, 20_000, 20_000)).model("x"), "1,200,000,000 elements"),
        (lambda: inserted("Tile", [np.array([1, 1, 1 << 20, 1 << 20])]), "Tile 'n1'"),
        (lambda: inserted("Expand", [np.array([1 << 40, 3, 6, 6])]), "Expand 'n1'"),
        (lambda: inserted("ConstantOfShape", [np.array([1 << 40, 1, 1, 1])]), "ConstantOfShape 'n1'"),
        (lambda: inserted("Pad", [np.array([0, 0, 1 << 20, 1 << 20, 0, 0, 0, 0])]), "Pad 'n1'"),
        (lambda: inserted("Resize", [np.zeros(0, np.float32), np.float32([1, 1, 1e5, 1e5])]), "Resize 'n1'"),
    ],
)
def test_sizes_are_estimated_before_anything_is_made(make, text, tmp_path):
    net = make()
    if not net.graph.node:
        net.graph.node.append(helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2]))
        net.graph.output[0].name = "y"
    onnx.save(net, tmp_path / "big.onnx")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path / "big.onnx", str(LIMIT)], capture_output=True, text=True, check=True
    )
    message, kilobytes = done.stdout.splitlines()
    assert text in message and "elements" in message and "at most" in message
    assert int(kilobytes) < 300_000


def test_the_sum_of_all_results():
    net = FloatNet((3, 2000, 2000))
    x = net.conv("x", 64, 3)
    for _ in range(2):
        x = net.op("Relu", x)
    refused(
        net.model(net.conv(x, 4, 64)), "'x' of shape (1, 3, 2000, 2000)", "784,000,000 elements", "at most 536,870,912"
    )


def test_images_are_made_without_copies():
    tracemalloc.start()
    made = random_images(0, (1, 3, 512, 512))
    assert tracemalloc.get_traced_memory()[1] < 3.1 * made.nbytes  # they, and their float64
    tracemalloc.stop()


# -- a batch that is fixed -----------------------------------------------------------------------------------


def batched(target, shape=(4, 3, 6, 6)):
    net = FloatNet(shape[1:])
    x = net.op("Relu", net.conv("x", 4, 3))
    x = net.op("Reshape", x, net.const(target, np.int64))
    made = net.model(net.dense(x, 5, 144))
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = shape[0]
    return made


@pytest.mark.parametrize("target", [(4, 144), (4, -1), (-1, 144), (0, -1)])
def test_a_fixed_batch_becomes_one_image(target):
    wanted = graph.load(batched((-1, 144), (1, 3, 6, 6)), random_weights=0)
    found = graph.load(batched(target), random_weights=0)
    image = np.random.default_rng(0).integers(-128, 128, (1, 3, 6, 6)).astype(np.int8)
    ours, theirs = (golden.run(g, image)[g.outputs[0]] for g in (found, wanted))
    np.testing.assert_array_equal(ours, theirs)


def test_a_batch_whose_images_are_mixed():
    net = FloatNet((3, 6, 6))
    x = net.op("Reshape", net.conv("x", 4, 3), net.const([1, 16, 6, 6], np.int64))
    made = net.model(net.conv(x, 5, 16))
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    refused(made, "fixed batch of 4", "n1")


# -- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        ("[ONNXRuntimeError] : 1 : FAIL : Load model from /tmp/a.onnx failed:Node (add) Op (Add) [ShapeInferenceError] "
         "Incompatible dimensions", "Add 'add': Incompatible dimensions"),
        ("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Non-zero status code returned while running Gather node. "
         "Name:'g' Status Message: idx=31", "Gather 'g': idx=31"),
        ('[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is an invalid model. In Node, ("n9", Softmax, "", -1) : '
         '("n8_0": tensor(float),) -> ("n9_0": tensor(float),) , Error Unrecognized attribute: pads',
         "Softmax 'n9': Unrecognized attribute: pads"),
        ("[ONNXRuntimeError] : 1 : FAIL : /onnxruntime_src/onnxruntime/core/graph/model.cc:256 onnxruntime::Model::"
         "Model(onnx::ModelProto&&, const std::string&, const T*, const F&) Unknown version\nsecond",
         "Unknown version second"),
        ("[ONNXRuntimeError] : 1 : FAIL : Type Error: Type parameter (T) of Optype (Conv) bound to different types "
         "(tensor(float) and tensor(float16) in node (conv1).",
         "Conv 'conv1': its operands have different types, tensor(float) and tensor(float16)"),
        ("Your model ir_version 99 is higher.\n\n==> Context: Bad node spec", "Your model ir_version 99 is higher."),
        ("", "ValueError"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
    ],
)  # fmt: skip
def test_other_libraries_errors_in_one_line(raw, line):
    assert one_line(ValueError(raw)) == line


def test_a_good_model_still_plans():
    plan(graph.load(plain(), random_weights=0), node="tiny")
    plan(graph.load(quantized()), node="tiny")
