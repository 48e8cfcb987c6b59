"""Every attribute of every operator is read or refused by name; domains and local functions are what they mean."""

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper
from onnx_models import MICROSOFT, FloatNet, model
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_state

from superlip import golden, graph
from superlip.graph.onnx.attributes import ATTRIBUTES, refusals
from superlip.graph.onnx.importer.float_ops import FLOAT_OPS
from superlip.graph.onnx.importer.qoperator_ops import QOPERATOR_OPS
from superlip.graph.onnx.views import LAYOUT_OPS
from superlip.graph.session import open_session

OPSETS = range(7, onnx.defs.onnx_opset_version() + 1)
STANDARD = sorted(name for name in ATTRIBUTES if "::" not in name)


def outputs(g, images):
    found = golden.run(g, golden.quantize_input(g, images))
    return {
        name: golden.dequantize(g, value, found[value]) for name, value in zip(g.onnx_outputs, g.outputs, strict=True)
    }


def given(float_model, images):
    """Outputs of the model as given, by ONNX Runtime."""
    session = open_session(float_model.SerializeToString(), is_optimized=False)
    names = [o.name for o in session.get_outputs()]
    runs = [session.run(None, {session.get_inputs()[0].name: image[None]}) for image in images]
    return {name: np.concatenate([run[i] for run in runs]) for i, name in enumerate(names)}


def decibels(ours, theirs):
    error = np.asarray(ours, float).reshape(theirs.shape) - theirs
    return 10 * np.log10((theirs**2).mean() / max((error**2).mean(), 1e-30))


def assert_right(float_model, images, least=25):
    g = graph.load(float_model, calibrate=images)
    ours, theirs = outputs(g, images), given(float_model, images)
    assert ours.keys() == theirs.keys()
    assert all(decibels(ours[name], theirs[name]) > least for name in theirs)
    return g


# ---- the table


def test_every_operator_that_is_taken_stands_in_the_table():
    taken = FLOAT_OPS.keys() | QOPERATOR_OPS.keys() | LAYOUT_OPS
    assert taken - {name.rpartition("::")[2] for name in ATTRIBUTES} == set()


@pytest.mark.parametrize("opset", OPSETS)
def test_every_attribute_of_onnx_stands_in_the_table(opset):
    """A new release of onnx with a new attribute fails here; a user who has it sees the attribute refused."""
    missing = []
    for name in STANDARD:
        try:
            schema = onnx.defs.get_schema(name, opset, "")
        except onnx.defs.SchemaError:
            continue  # not in this opset yet
        missing += [f"{name}.{a}" for a in schema.attributes if a not in ATTRIBUTES[name]]
    assert missing == []


def test_every_attribute_of_onnxruntimes_operators_stands_in_the_table():
    schemas = {s.name: s for s in onnxruntime_state.get_all_operator_schema() if s.domain == MICROSOFT}
    for name, rules in ATTRIBUTES.items():
        domain, _, op = name.rpartition("::")
        if domain == MICROSOFT:
            assert schemas[op].attributes.keys() == rules.keys(), name


def test_the_table_holds_nothing_that_no_schema_knows():
    known = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if not schema.domain:
            known.setdefault(schema.name, set()).update(schema.attributes)
    assert {f"{n}.{a}" for n in STANDARD for a in ATTRIBUTES[n]} - {
        f"{n}.{a}" for n in known for a in known[n]
    } == set()


def one_node(name, attributes, opset):
    domain, _, op = name.rpartition("::")
    node = helper.make_node(op, ["x"], ["y"], name="it", domain=domain)
    node.attribute.extend(attributes)
    return model([node], {"x": (np.float32, [1, 4, 8, 8])}, ["y"], {}, opset)


def schemas_of(name):
    """(opset, schema) of an operator, each version of it once."""
    domain, _, op = name.rpartition("::")
    if domain:
        return [
            (17, next(s for s in onnxruntime_state.get_all_operator_schema() if (s.domain, s.name) == (domain, op)))
        ]
    found = {}
    for opset in OPSETS:
        if onnx.defs.has(op, opset, ""):
            schema = onnx.defs.get_schema(op, opset, "")
            if not schema.deprecated:
                found.setdefault(schema.since_version, (opset, schema))
    return list(found.values())


VALUES = {"INT": 7, "INTS": [7], "FLOAT": 7.0, "FLOATS": [7.0], "STRING": "seven", "STRINGS": ["seven"]}


@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_other_attributes_and_values_are_refused_by_name(name):
    """Operator by attribute by opset: one nobody knows, and a value that is not read."""
    for opset, schema in schemas_of(name):
        surprise = helper.make_attribute("surprise", 3)
        why = refusals(one_node(name, [surprise], opset))["it"]
        assert "'surprise'" in why and "3" in why
        for attribute in schema.attributes:
            rule = ATTRIBUTES[name][attribute]
            kind = schema.attributes[attribute].type
            value = VALUES.get(getattr(kind, "name", str(kind)).rpartition(".")[2])
            if rule.allowed is None or value is None:
                continue
            why = refusals(one_node(name, [helper.make_attribute(attribute, value)], opset))["it"]
            assert attribute in why and str(value) in why and rule.otherwise in why


def test_an_attribute_of_no_type_is_refused():
    assert "no type" in refusals(one_node("Elu", [AttributeProto(name="alpha")], 17))["it"]


def test_an_attribute_of_another_opset_is_refused():
    axes = helper.make_attribute("axes", [2, 3])
    assert refusals(one_node("ReduceMean", [axes], 13)) == {}
    assert "'axes'" in refusals(one_node("ReduceMean", [axes], 18))["it"]
    softmax = one_node("Softmax", [helper.make_attribute("axes", [1])], 17)
    assert "'axes'" in refusals(softmax)["it"]
    assert refusals(one_node("Softmax", [helper.make_attribute("axis", 1)], 17)) == {}


def test_an_opset_that_nobody_knows_is_refused():
    net = FloatNet((3, 8, 8))
    later = net.model(net.conv("x", 4, 3), opset=onnx.defs.onnx_opset_version() + 1)
    with pytest.raises(graph.ModelError, match="newer than the installed onnx"):
        graph.load(later, random_weights=0)


def test_refusal_and_table_of_verdicts_agree():
    net = FloatNet((3, 8, 8))
    x = net.norm(net.conv("x", 4, 3), 4)
    net.nodes[-1].attribute.append(helper.make_attribute("training_mode", 1))
    x = net.op("Softmax", net.op("Flatten", net.conv(net.op("Relu", x), 4, 4)), axis=1)
    trained = net.model(x)
    with pytest.raises(graph.ModelError, match=r"BatchNormalization 'n1': training_mode=1.*inference"):
        graph.load(trained, random_weights=0)
    rows = {r.node: r for r in graph.check(trained)}
    assert [rows[f"n{i}"].verdict for i in range(6)] == ["accelerator", *["unsupported"] * 5]
    assert "training_mode=1" in rows["n1"].why
    assert "'n1'" in rows["n5"].why


@pytest.mark.parametrize("mode", ["constant", "input"])
def test_dropout_in_training_is_refused(mode):
    net = FloatNet((3, 8, 8))
    flag = net.const(True, bool)
    if mode == "input":
        flag = net.op("Cast", net.op("ReduceMax", "x", keepdims=0), to=TensorProto.BOOL)
    x = net.op("Dropout", net.conv("x", 4, 3), net.const(0.5), flag)
    with pytest.raises(graph.ModelError, match=r"Dropout .*training_mode"):
        graph.load(net.model(x), random_weights=0)
    net = FloatNet((3, 8, 8))
    x = net.op("Dropout", net.conv("x", 4, 3), net.const(0.5), net.const(False, bool))
    graph.load(net.model(net.op("Relu", x)), random_weights=0)


# ---- domains


def foreign(domain, op="Relu"):
    net = FloatNet((3, 8, 8))
    x = net.op(op, net.conv("x", 4, 3))
    net.nodes[-1].domain = domain
    result = net.model(net.conv(x, 4, 4))
    if domain:
        result.opset_import.append(helper.make_opsetid(domain, 1))
    return result


@pytest.mark.parametrize(
    ("domain", "op", "why"),
    [
        ("ai.vendor", "Relu", "no operator that superlip or ONNX Runtime knows"),
        ("ai.vendor", "DeformConv2d", "no operator"),
        (MICROSOFT, "Pad", "no operator"),
        (MICROSOFT, "FusedConv", "before it is optimized"),
        ("com.microsoft.nchwc", "Conv", "before it is optimized"),
        ("", "Rellu", "no operator"),
    ],
)
def test_an_operator_of_another_domain_is_another_operator(domain, op, why):
    it = f"{domain}::{op}" if domain else op
    with pytest.raises(graph.ModelError, match=f"{it} 'n1': .*{why}"):
        graph.load(foreign(domain, op), random_weights=0)
    rows = graph.check(foreign(domain, op))
    assert [(r.node, r.op, r.verdict) for r in rows] == [
        ("n0", "Conv", "accelerator"), ("n1", it, "unsupported"), ("n2", "Conv", "unsupported"),
    ]  # fmt: skip


def test_nothing_is_made_up_about_nodes_that_were_not_examined():
    net = FloatNet((3, 8, 8))
    x = net.op("Relu", "x")
    net.nodes[-1].domain = "ai.vendor"
    rows = graph.check(net.model(net.op("Relu", net.conv(x, 4, 3))))
    assert [r.verdict for r in rows] == ["unsupported"] * 3


def test_ai_onnx_is_the_default_domain():
    net = FloatNet((3, 8, 8))
    x = net.conv(net.op("Relu", net.norm(net.conv("x", 4, 3), 4)), 4, 4)
    for node in net.nodes:
        node.domain = "ai.onnx"
    spelled_out = net.model(x)
    spelled_out.opset_import[0].domain = "ai.onnx"
    g = assert_right(spelled_out, net.images(4))
    assert len(g.nodes) == 2


# ---- local functions


def with_functions(net, result, *functions):
    found = net.model(result)
    found.functions.extend(functions)
    found.opset_import.append(helper.make_opsetid("pkg", 1))
    return found


def function(name, nodes, attributes=(), opset=17):
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("pkg", 1)]
    return helper.make_function("pkg", name, ["a"], ["r"], nodes, imports, list(attributes))


RELU6 = function(
    "Relu6",
    [
        helper.make_node("Constant", [], ["low"], value_float=0.0),
        helper.make_node("Constant", [], ["high"], value_float=0.6),
        helper.make_node("Clip", ["a", "low", "high"], ["r"], name="clip"),
    ],
)


def test_local_functions_are_inlined():
    """One that calls another, one with an attribute, one named as an operator of ONNX; names lead back to the call."""
    slope = helper.make_node("LeakyRelu", ["a"], ["r"], name="leaky")
    slope.attribute.append(AttributeProto(name="alpha", ref_attr_name="slope", type=AttributeProto.FLOAT))
    block = function(
        "Relu",
        [
            helper.make_node("Relu6", ["a"], ["t"], domain="pkg", name="inner"),
            helper.make_node("Neg", ["t"], ["r"], name="minus"),
        ],
    )
    net = FloatNet((3, 8, 8))
    x = net.op("Relu", net.conv("x", 4, 3))
    net.nodes[-1].domain = "pkg"
    x = net.op("Leaky", net.conv(x, 4, 4), slope=0.25)
    net.nodes[-1].domain = "pkg"
    called = with_functions(net, net.conv(x, 4, 4), RELU6, function("Leaky", [slope], ["slope"]), block)
    assert_right(called, net.images(4))
    rows = {r.node: r for r in graph.check(called)}
    assert rows["n1/inner/clip"].op == "pkg::Relu/pkg::Relu6/Clip"
    assert rows["n1/minus"].op == "pkg::Relu/Neg"
    assert rows["n3/leaky"].op == "pkg::Leaky/LeakyRelu"
    assert {r.verdict for r in rows.values()} <= {"accelerator", "folded", "rewritten"}


def test_a_function_of_another_opset_is_inlined():
    mean = function("Mean", [helper.make_node("ReduceMean", ["a"], ["r"], axes=[2, 3])], opset=13)
    net = FloatNet((3, 8, 8))
    x = net.op("Mean", net.conv("x", 4, 3))
    net.nodes[-1].domain = "pkg"
    assert_right(with_functions(net, net.conv(x, 4, 4, 1), mean), net.images(4))


def test_a_function_that_calls_itself_is_refused():
    turning = function("Turn", [helper.make_node("Turn", ["a"], ["r"], domain="pkg")])
    net = FloatNet((3, 8, 8))
    x = net.op("Turn", net.conv("x", 4, 3))
    net.nodes[-1].domain = "pkg"
    with pytest.raises(graph.ModelError, match="calls itself"):
        graph.load(with_functions(net, x, turning), random_weights=0)


def test_broadcasting_before_opset_7_is_what_it_is_now():
    """``broadcast`` of Add, Mul and Gemm; their ``axis``, which onnx converts to another one, is refused."""

    def net(opset):
        made, old = FloatNet((3, 8, 8)), opset < 7
        bias, factor = ([0.1, -0.5, 0.4, 2.0], [1.0, 0.5, 2.0, -1.0])
        along, shape = ({"broadcast": 1} if old else {}), (4, 1, 1)
        x = made.op("Add", made.conv("x", 4, 3), made.const(np.reshape(bias, shape)), **along)
        x = made.op("Flatten", made.op("Mul", x, made.const(np.reshape(factor, shape)), **along))
        weights, offset = made.const(made.rng.normal(size=(5, 256)) / 16), made.const(made.rng.normal(size=5))
        x = made.op("Gemm", x, weights, offset, transB=1, **({"broadcast": 1} if old else {}))
        return made.model(x, opset=opset), made.images(3)

    (before, images), (now, _) = net(6), net(13)
    results = [outputs(graph.load(m, calibrate=images), images) for m in (before, now)]
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(*(r.values() for r in results), strict=True))
    before.graph.node[1].attribute.append(helper.make_attribute("axis", 1))
    with pytest.raises(graph.ModelError, match="Add 'n1': axis=1"):
        graph.load(before, calibrate=images)


@pytest.mark.parametrize("opset", [9, 12, 13])
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_softmax_is_that_of_its_opset(opset, axis):
    """Before opset 13 it works on all axes from ``axis`` on."""
    net = FloatNet((3, 4, 4))
    x = net.op("Softmax", net.conv("x", 4, 3), axis=axis)
    assert_right(net.model(x, opset=opset), net.images(4))


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13])
def test_resizing_is_that_of_its_opset(opset):
    net = FloatNet((3, 4, 4))
    x = net.conv("x", 4, 3)
    if opset == 7:
        x = net.op("Upsample", x, scales=[1.0, 1.0, 2.0, 2.0], mode="nearest")
    elif opset == 9:
        x = net.op("Upsample", x, net.const([1, 1, 2, 2]), mode="nearest")
    elif opset == 10:
        x = net.op("Resize", x, net.const([1, 1, 2, 2]), mode="nearest")
    else:
        x = net.op("Resize", x, net.const([]), net.const([1, 1, 2, 2]), mode="nearest")
    assert_right(net.model(net.conv(x, 4, 4), opset=opset), net.images(4))
