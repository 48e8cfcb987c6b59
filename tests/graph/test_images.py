"""Images and labels: every form that is taken, and what is said of those that are not."""

import io
import pickle
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx_models import FloatNet, model, node
from several_inputs import image_and_vector

from superlip import api, golden, graph
from superlip.graph.images import ImageInput, read_images, read_labels, unused_arrays
from superlip.run.images import DataError, Images, load_images, range_warnings

SHAPE = (3, 4, 6)
TAKES = ImageInput("pixels", SHAPE)
IMAGES = np.random.default_rng(0).normal(size=(5, *SHAPE)).astype(np.float32)
LABELS = np.array([0, 3, 1, 2, 3])


@pytest.fixture(scope="module")
def net():
    """A float network with four classes, calibrated for numbers of 0 to about 1."""
    built = FloatNet(SHAPE)
    return graph.load(built.model(built.dense(built.op("Flatten", built.conv("x", 8, 3)), 4, 192)), calibrate=unit(8))


@pytest.fixture(scope="module")
def integer_net():
    """A network whose own input is uint8, of real numbers from 0 to 1."""
    constants = {"s": np.float32(1 / 255), "z": np.uint8(0), "w": np.ones((4, 3, 4, 6), np.int8), "wz": np.int8(0)}
    conv = node("QLinearConv", ["x", "s", "z", "w", "s", "wz", "s", "z"], ["y"])
    return graph.load(model([conv], {"x": (np.uint8, [1, *SHAPE])}, ["y"], constants))


def unit(count):
    return np.random.default_rng(1).random((count, *SHAPE), np.float32)


def saved(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


# ---- images


@pytest.mark.parametrize(
    "arrays",
    [
        {"pixels": IMAGES, "images": 0 * IMAGES, "x": 0 * IMAGES},
        {"images": IMAGES, "x": 0 * IMAGES},
        {"x": IMAGES, "data": 0 * IMAGES, "y": LABELS},
        {"data": IMAGES, "other": 0 * IMAGES},
        {"whatever": IMAGES, "labels": LABELS, "mean": np.zeros(3), "names": np.array(["a", "b"])},
        {"arr_0": IMAGES.astype(np.float64)},
        {"arr_0": np.asfortranarray(IMAGES)},
    ],
    ids="+".join,
)
def test_the_array_of_images_is_found(tmp_path, arrays):
    found = read_images(saved(tmp_path, **arrays), TAKES)
    assert found.dtype == np.float32 and np.array_equal(found, IMAGES)


def test_every_kind_of_source_is_the_same(tmp_path):
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            return IMAGES

    np.save(tmp_path / "a.npy", IMAGES)
    np.savez_compressed(tmp_path / "c.npz", IMAGES)
    for source in (str(tmp_path / "a.npy"), tmp_path / "c.npz", IMAGES, IMAGES.tolist(), Tensor()):
        assert np.array_equal(read_images(source, TAKES), IMAGES)
    assert np.array_equal(read_images(IMAGES[0], TAKES), IMAGES[:1])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "float16", "float64", "bool"])
def test_a_float_input_takes_numbers_of_every_type(dtype):
    images = np.arange(72).reshape(1, *SHAPE).astype(dtype)
    found = read_images(images, TAKES)
    assert found.dtype == np.float32 and np.array_equal(found, images)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (IMAGES[:0], r"holds float32 of shape \(0, 3, 4, 6\): no image at all"),
        (IMAGES[:, :2], r"of shape \(5, 2, 4, 6\); input 'pixels' takes float32 images of shape \(N, 3, 4, 6\)$"),
        (IMAGES.transpose(0, 2, 3, 1), r"channels come last in it; array\.transpose\(0, 3, 1, 2\)"),
        (IMAGES[0].transpose(1, 2, 0), r"array\.transpose\(2, 0, 1\) puts them"),
        (IMAGES.astype(complex), "holds complex numbers, not numbers"),
        (IMAGES.astype(str), "holds text, not numbers"),
        (np.zeros(5, [("a", "f4"), ("b", "i4")]), "holds structures, not numbers"),
        (np.array([None, "a"]), "holds Python objects, not numbers"),
        (np.where(np.arange(5)[:, None, None, None] == 1, np.nan, IMAGES), r"72 NaN and 0 infinite among 360 values"),
        (np.where(IMAGES.max() == IMAGES, np.inf, IMAGES), "0 NaN and 1 infinite among 360 values"),
        (np.where(IMAGES.max() == IMAGES, 1e300, IMAGES.astype(float)), "0 NaN and 1 infinite"),
        (np.float32(1), r"of shape \(\); input 'pixels' takes"),
    ],
)
def test_arrays_that_are_no_images(tmp_path, array, message):
    with pytest.raises(DataError, match=message):
        read_images(array, TAKES, what="images")
    if array.dtype.kind != "O":  # numpy writes those only as pickles, and they are never read
        with pytest.raises(DataError, match=rf"data\.npz: 'images'.*({message})"):
            read_images(saved(tmp_path, images=array), TAKES)


def test_what_does_not_turn_into_an_array():
    class Tensor:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("can't call numpy() on a tensor that requires grad")

    for source, message in ((Tensor(), "requires grad"), ([[1, 2], [3]], "list does not turn into an array")):
        with pytest.raises(DataError, match=message):
            read_images(source, TAKES)


def test_the_missing_axis_of_one_channel():
    with pytest.raises(DataError, match=r"the axis of the one channel is missing; array\[:, None\] adds it"):
        read_images(np.zeros((7, 4, 6)), ImageInput("x", (1, 4, 6)))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"a": IMAGES, "b": IMAGES},
            "several arrays have that shape and none is named 'pixels', 'images', 'x', ",
        ),
        ({"a": LABELS, "b": LABELS}, r"no array has that shape.*it holds 'a' int64 \(5,\), 'b' int64 \(5,\)"),
        ({}, "it holds no array"),
    ],
)
def test_files_in_which_no_array_can_be_chosen(tmp_path, arrays, message):
    with pytest.raises(DataError, match=rf"data\.npz: input 'pixels' takes .*{message}"):
        read_images(saved(tmp_path, **arrays), TAKES)


def written(save):
    """What ``np.save`` or ``np.savez`` makes of the images."""
    file = io.BytesIO()
    save(file, IMAGES)
    return file.getvalue()


NPY, NPZ = written(np.save), written(np.savez)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a .npz or .npy file of images: it is empty"),
        (b"1,2,3\n", r"is not a .npz or .npy file of images: it begins with b'1,2,3\\n'"),
        (pickle.dumps(IMAGES), "is not a .npz or .npy file"),
        (NPZ[:-30], "is damaged or cut short"),
        (NPZ[:900], "is damaged or cut short"),
        (NPZ.replace(IMAGES.tobytes(), IMAGES.tobytes()[::-1]), "is damaged or cut short: Bad CRC"),
        (NPY[:900], "is damaged or cut short"),
        (NPY[:20], "is damaged or cut short"),
        (NPY.replace(b"(5, 3,", b"(-5, 3"), "is damaged or cut short"),
    ],
    ids=range(9),
)
def test_files_that_are_none(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"file {message}") as caught:
        read_images(path, TAKES)
    assert "\n" not in str(caught.value)


def test_no_file_and_a_folder(tmp_path):
    for path, message in ((tmp_path / "none.npz", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(DataError, match=f"{message}: a .npz or .npy file of images is wanted"):
            read_images(path, TAKES)


# ---- an input of the model's own integers


def test_integers_for_an_integer_input_are_its_own():
    takes = ImageInput("x", (1, 1, 2), "uint8")
    assert read_images([[[[0, 255]]]], takes).dtype == np.uint8
    assert read_images(np.array([[[0.5, 0.25]]]), takes).dtype == np.float32
    message = r"holds int64 of shape \(1, 1, 2\) from -1 to 255; input 'x' takes integers of uint8, 0 to 255, or real"
    with pytest.raises(DataError, match=message):
        read_images([[[-1, 255]]], takes)


def test_whole_floats_for_an_integer_input_are_not_guessed_at(integer_net):
    numbers = np.arange(72).reshape(1, *SHAPE)
    assert load_images(None, integer_net, numbers).images.dtype == np.uint8
    with pytest.raises(DataError, match=r"whole numbers in floating point.*array\.astype\(np\.uint8\).*takes 0 to 1"):
        load_images(None, integer_net, numbers.astype(float))
    reals = load_images(None, integer_net, numbers / 255)
    assert not reals.warnings
    assert np.array_equal(golden.quantize_input(integer_net, reals.images), (numbers - 128).astype(np.int8))


# ---- labels


@pytest.mark.parametrize(
    "labels",
    [
        LABELS, LABELS.astype(np.uint8), LABELS.astype(float), LABELS[:, None], LABELS.tolist(),
        np.eye(4)[LABELS], np.eye(4, dtype=bool)[LABELS], np.eye(4, dtype=int)[LABELS],
    ],
)  # fmt: skip
def test_labels_that_are_understood(tmp_path, labels):
    for source in (labels, saved(tmp_path, x=IMAGES, labels=labels), saved(tmp_path, images=IMAGES, y=labels)):
        found = read_labels(source, TAKES, 5, 4)
        assert found.dtype == np.int64 and np.array_equal(found, LABELS)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array(list("abcde")), "holds text, not numbers; 5 labels are whole numbers 0 to 3, or one-hot of shape"),
        (LABELS + 1, "holds 1 to 4; the model has 4 classes"),
        (LABELS - 1, "holds -1 to 2; the model has 4 classes"),
        (LABELS + 0.5, "holds numbers that are not whole"),
        (np.where(LABELS == 1, np.nan, LABELS), "holds numbers that are not whole"),
        (LABELS[:4], r"holds int64 of shape \(4,\); 5 labels are"),
        (np.eye(7)[LABELS], r"holds float64 of shape \(5, 7\); 5 labels are"),
        (np.ones((5, 4)), r"holds float64 of shape \(5, 4\), which is not one-hot: one 1 and else 0 in each row"),
        (0.5 + np.eye(4)[LABELS] / 2, "holds numbers that are not whole"),
    ],
)
def test_labels_that_are_refused(tmp_path, labels, message):
    path = saved(tmp_path, x=IMAGES, y=labels)
    for source, where in ((labels, "labels "), (path, r"data\.npz: 'y'.*")):
        with pytest.raises(DataError, match=where + message):
            read_labels(source, TAKES, 5, 4)


def test_an_input_named_as_labels_are(tmp_path):
    takes = ImageInput("y", SHAPE)
    path = saved(tmp_path, y=IMAGES, labels=LABELS)
    assert np.array_equal(read_images(path, takes), IMAGES)
    assert np.array_equal(read_labels(path, takes, 5, 4), LABELS)
    assert read_labels(saved(tmp_path, y=IMAGES), takes, 5, 4) is None


# ---- what a run takes


def test_images_of_a_run(tmp_path, net):
    images = unit(5)
    path = saved(tmp_path, x=images, y=LABELS)
    for loaded in (load_images(None, net, path), load_images(None, net, images, labels=LABELS)):
        assert np.array_equal(loaded.images, images) and np.array_equal(loaded.labels, LABELS)
        assert not loaded.warnings
    assert load_images(None, net, path).source == "data.npz"
    few = load_images(None, net, path, limit=2)
    assert len(few.images) == 2 and few.labels.tolist() == [0, 3]
    with pytest.raises(DataError, match="holds 0 to 9; the model has 4 classes"):
        load_images(None, net, saved(tmp_path, x=images, y=np.array([0, 1, 2, 3, 9])), limit=2)


def test_labels_and_limits_of_whatever_is_run(net):
    given = Images(unit(5), None, "mine")
    assert load_images(None, net, given, labels=LABELS, limit=3).labels.tolist() == LABELS[:3].tolist()
    with pytest.raises(DataError, match="holds 1 to 4; the model has 4 classes"):
        load_images(None, net, given, labels=LABELS + 1)
    with pytest.raises(DataError, match="labels but no images that they are of"):
        load_images(None, net, labels=LABELS)
    with pytest.raises(DataError, match="must be at least 1, not 0"):
        load_images(None, net, given, limit=0)


@pytest.mark.parametrize("name", ["heldout.npz", "heldout.npy"])
def test_images_beside_the_model(tmp_path, net, name):
    images = unit(3)
    (np.savez if name.endswith("z") else np.save)(tmp_path / name, images)
    loaded = load_images(tmp_path / "model.onnx", net)
    assert np.array_equal(loaded.images, images) and loaded.source == name


def test_images_that_are_made_up_fill_the_range_and_do_not_leave_it(net, integer_net):
    for g in (net, integer_net):
        loaded = load_images(None, g, limit=20)
        codes = golden.quantize_input(g, loaded.images)
        assert loaded.source == "20 random" and not range_warnings(g, loaded)
        assert codes.min() < -80 and codes.max() > 80 and np.isin(codes, (-128, 127)).mean() < 0.01


def test_labels_under_another_name_are_not_passed_over(tmp_path, net):
    loaded = load_images(None, net, saved(tmp_path, x=unit(5), target=LABELS))
    assert loaded.labels is None
    assert loaded.warnings == ["data.npz: 'target' not used: labels are taken from 'labels' or 'y'"]


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (unit(5), None),
        (unit(5) / 2, None),
        (unit(5) - 0.005, None),
        (unit(5) / 10, r"holds \S+ to 0\.0\d+, but float32 input 'x' is quantized for 0 to \S+: give images in the"),
        (unit(5) - 0.1, r"\(\d+\.\d % of the values saturate\): give images"),
        (255 * unit(5), r"\(100\.0 % of the values saturate\).* or calibrate with images like these"),
        (np.where(np.arange(360).reshape(5, *SHAPE) == 7, 5, unit(5)), r"to 5, but .* to \S+: give images"),
    ],
)
def test_a_range_that_was_not_calibrated_is_said(net, images, message):
    warnings = load_images(None, net, images).warnings
    assert len(warnings) == (message is not None)
    assert message is None or re.search(message, warnings[0])


def test_calibration_in_integers_and_images_of_0_to_1(net):
    """Photographs of 0 to 255 to calibrate with, and the float images that the network was trained on."""
    built = FloatNet(SHAPE)
    float_model = built.model(built.conv("x", 8, 3))
    photographs = graph.load(float_model, calibrate=np.rint(255 * unit(4)).astype(np.uint8))
    [text] = load_images(None, photographs, unit(2)).warnings
    assert "array holds 0" in text
    assert "float32 input 'x' is quantized for 0 to 255 (0 to 255 here, 0 to 1 there?): give images" in text
    assert load_images(None, photographs, np.rint(255 * unit(2)).astype(np.uint8)).warnings == []


def test_the_same_numbers_give_the_same_result_whatever_their_type(tmp_path):
    built = FloatNet(SHAPE)
    float_model = built.model(built.conv("x", 8, 3))
    numbers = np.rint(200 * unit(4))
    results = []
    for dtype in (np.uint8, np.float32, np.int64):
        g = graph.load(float_model, calibrate=saved(tmp_path, images=numbers.astype(dtype)))
        images = load_images(None, g, saved(tmp_path, images=numbers.astype(dtype))).images
        results.append(golden.run(g, golden.quantize_input(g, images))[g.outputs[0]])
    assert all(np.array_equal(results[0], other) for other in results)


# ---- the whole way


def test_a_run_takes_arrays_and_designs(net):
    design = api.plan(net, boards=2, node="tiny")
    images = unit(2)
    report = api.run(design, images=images, labels=[1, 2])
    assert report.bit_exact and report.boards == 2 and report.images == 2 and report.accuracy is not None
    idle = [] if design.why_idle is None else [design.why_idle]
    assert report.warnings == idle
    far = Images(255 * images, np.array([1, 2]), "mine")
    with pytest.raises(golden.AccuracyError, match="0 to 255 here, 0 to 1 there"):
        api.run(net, boards=2, node="tiny", images=far)
    other = api.run(net, boards=2, node="tiny", images=far, accept_accuracy=True)
    assert other.cycles == report.cycles and len(other.warnings) == 2 + len(idle)
    assert f"warning      {other.warnings[0]}" in other.summary().splitlines()
    with pytest.raises(ValueError, match="the design is for 2 boards of node tiny: leave boards and node out"):
        api.run(design, boards=1, images=images)


def test_the_data_of_two_keywords_is_refused(net):
    with pytest.raises(DataError, match="images and data"):
        api.run(net, node="tiny", images=unit(1), data="file.npz")


@pytest.mark.parametrize("content", [NPY, NPZ], ids=["npy", "npz"])
@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_files_are_images_or_a_data_error(tmp_path, content, data):
    """Bytes changed, most of them in the headers, and cut anywhere: never another exception."""
    damaged = bytearray(content)
    for place in data.draw(st.lists(st.integers(0, 200) | st.integers(0, len(content) - 1), max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    path = tmp_path / "file"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(content)) | st.just(len(content)))])
    try:
        images = read_images(path, TAKES)
    except DataError as error:
        assert "\n" not in str(error) and str(path) in str(error)
    else:
        assert images.shape[1:] == SHAPE and np.isfinite(images).all()


# ---- several inputs

LEFT, RIGHT = ImageInput("left", (2, 3)), ImageInput("right", (4,), "uint8")
BOTH = ImageInput.of([LEFT, RIGHT])


def of_both(count=3):
    rng = np.random.default_rng(0)
    return {
        "left": rng.normal(size=(count, 2, 3)).astype(np.float32),
        "right": rng.integers(0, 256, (count, 4), np.uint8),
    }


def test_several_inputs_are_one_flat_image(tmp_path):
    arrays = of_both()
    assert BOTH.shape == (10,) and BOTH.dtype == "float32" and ImageInput.of([LEFT]) is LEFT
    for source in (
        arrays,
        saved(tmp_path, labels=LABELS, other=IMAGES, **arrays),
        {n: a[:1] for n, a in arrays.items()},
    ):
        images = read_images(source, BOTH)
        for part, array in zip(BOTH.split(images), arrays.values(), strict=True):
            np.testing.assert_array_equal(part, array[: len(part)])
            assert part.dtype == array.dtype
        np.testing.assert_array_equal(read_images(images, BOTH), images)
    assert ImageInput.of([RIGHT, RIGHT]).dtype == "uint8"


def test_labels_beside_several_inputs(tmp_path):
    path = saved(tmp_path, labels=LABELS[:3], other=IMAGES, **of_both())
    np.testing.assert_array_equal(read_labels(path, BOTH, 3, 4), LABELS[:3])
    assert unused_arrays(path, BOTH) == ["other"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"right": None}, "the model has 2 inputs, and no array is named 'right': input 'right' takes uint8"),
        ({"right": np.zeros((2, 4), np.uint8)}, "2 images; 'left' has 3"),
        ({"right": np.zeros((3, 5), np.uint8)}, "holds uint8 of shape \\(3, 5\\); input 'right' takes"),
        ({"right": np.zeros((3, 4), np.float32)}, "one of integers takes the model's own numbers"),
        ({"left": np.full((3, 2, 3), np.nan)}, "18 NaN"),
    ],
)
def test_arrays_that_are_not_those_of_several_inputs(change, why):
    arrays = {name: array for name, array in (of_both() | change).items() if array is not None}
    with pytest.raises(DataError, match=why):
        read_images(arrays, BOTH)


def test_each_input_has_a_range_of_its_own():
    built, images = image_and_vector()
    found = graph.load(built, calibrate=images)
    assert load_images(None, found, images).warnings == []
    (warning,) = load_images(None, found, images | {"vector": 100 * images["vector"]}).warnings
    assert "input 'vector' is quantized for" in warning
    made = load_images(None, found, limit=3)
    assert made.images.shape == (3, 197) and made.warnings == []
