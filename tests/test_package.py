"""What ``superlip build`` writes is enough to drive the boards: a driver that knows the manifest only."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import several_inputs
from nets import Builder

from superlip import api, golden, package
from superlip.boards import TARGETS
from superlip.golden.run import run as run_golden
from superlip.graph import load
from superlip.graph.images import input_of, read_images
from superlip.package import PackageError
from superlip.rtl import node
from superlip.rtl.config import PAGE
from superlip.rtl.isa import Region
from superlip.sim.functional import FunctionalCluster

TINY = TARGETS["tiny"]


class Driver:
    """Runs one image on instruction-level boards from the files alone."""

    def __init__(self, folder):
        self.folder, self.manifest = folder, json.loads((folder / "manifest.json").read_text())
        self.boards = self.manifest["boards"]
        images = []
        for number, board in enumerate(self.boards):
            data = (folder / f"board{number}" / "dram.bin").read_bytes()
            images.append([(s["offset"], data[s["file_offset"] :][: s["length"]]) for s in board["dram"]])
        regions = [
            {Region[name.upper()]: (place["offset"], place["bytes"]) for name, place in board["regions"].items()}
            for board in self.boards
        ]
        assert all(size % board["alignment"] == 0 for board, places in zip(self.boards, regions, strict=True)
                   for place in places.values() for size in place)  # fmt: skip
        self.cluster = FunctionalCluster(TINY.node, images, self.boards[0]["stripe_bytes"], 1 << 17, regions)
        self.cluster.run([board["init_program"] for board in self.boards])

    def run(self, image):
        values = {self.manifest["image"]["value"]: image}
        for part in self.manifest["parts"]:
            size = np.prod(part["shape"])
            value = values[part["value"]] = image.reshape(-1)[part["first"] :][:size].reshape(part["shape"])
            if "pieces" in part:
                self.write(part, value)
        if not self.manifest["parts"]:
            self.write(
                self.manifest["image"], image if self.manifest["image"]["im2col"] is None else self.im2col(image)
            )
        for segment in range(len(self.boards[0]["segments"])):
            self.host(values, segment)
            self.cluster.run([board["segments"][segment] for board in self.boards])
        for described in self.manifest["results"]:
            values[described["value"]] = self.read(described)
        self.host(values, None)
        return values

    def host(self, values, segment):
        for step in self.manifest["host"]:
            if step["segment"] != segment:
                continue
            for described in step["inputs"]:
                if "pieces" in described:
                    values[described["value"]] = self.read(described)
            session = onnxruntime.InferenceSession(self.folder / step["model"])
            names = [i.name for i in session.get_inputs()]
            feed = {n: values[d["value"]][None] for n, d in zip(names, step["inputs"], strict=True)}
            result = values[step["result"]["value"]] = session.run(None, feed)[0][0]
            if "pieces" in step["result"]:
                self.write(step["result"], result)

    def im2col(self, image):
        how = self.manifest["image"]["im2col"]
        (kh, kw), (top, left, *_), (sy, sx), rows, cols = (
            how[n] for n in ("kernel", "pads", "strides", "rows", "cols")
        )
        assert how["dilations"] == [1, 1]
        far = 2 * max(image.shape)
        padded = np.pad(image, ((0, 0), (far, far), (far, far)), constant_values=how["pad_value"])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))
        pieces = [
            windows[:, far + first - top :: sy, far - left :: sx][:, :rows, :cols].transpose(0, 3, 4, 1, 2)
            for first in how["first_rows"]
        ]
        return np.concatenate([piece.reshape(-1, rows, cols) for piece in pieces])

    def write(self, described, value):
        tn, lanes = TINY.node.tn, self.lanes(described, len(value))
        channels = np.zeros((lanes[-1] + 1 + tn, *value.shape[1:]), np.int8)
        channels[lanes] = value
        for piece in described["pieces"]:
            rows = channels[piece["group"] * tn :][:tn, piece["row"] : piece["row"] + piece["rows"]]
            (offset, length), *more = piece["ranges"]
            data = rows.transpose(1, 2, 0).tobytes()
            assert not more and len(data) == length
            self.cluster.write(piece["board"], offset, data)

    def read(self, described):
        tn, (_, h, w), lanes = TINY.node.tn, described["shape"], self.lanes(described)
        channels = np.zeros((lanes[-1] + 1 + tn, h, w), np.int8)
        for piece in described["pieces"]:
            data = np.frombuffer(self.cluster.read(piece["board"], *piece["ranges"][0]), np.int8)
            words = data.reshape(piece["rows"], described["width"], tn).transpose(2, 0, 1)
            channels[piece["group"] * tn :][:tn, piece["row"] : piece["row"] + piece["rows"]] = words
        return channels[lanes]

    def lanes(self, described, count=None):
        """Where the channels of a value, or so many, lie: group * tn + lane."""
        tn, section = TINY.node.tn, described["section"]
        number, rest = np.divmod(described["first_channel"] + np.arange(count or described["shape"][0]), section)
        return number * -(-section // tn) * tn + rest


@pytest.mark.parametrize("kernel, strides", [((2, 1), (1, 1)), ((1, 2), (2, 1)), ((3, 1), (2, 2))])
def test_a_driver_lays_out_halves_of_the_image(tmp_path, kernel, strides):
    net = Builder(np.random.default_rng(2), (1, 12, 7))
    x = net.conv("image", 4, kernel, strides=strides, pads=(kernel[0] // 2, 0, (kernel[0] - 1) // 2, 0))
    y = net.conv(net.conv(x, 3, (1, 1)), 9, (1, 1))
    graph, image = net.graph(y), net.image()
    driver = Driver(api.build(api.plan(graph, boards=1, node=TINY), tmp_path / "built"))
    assert len(driver.manifest["image"]["im2col"]["first_rows"]) == 2
    np.testing.assert_array_equal(driver.run(image)[y], run_golden(graph, image[None])[y][0])


@pytest.mark.parametrize("boards", [1, 2])
def test_a_driver_needs_only_the_files(tmp_path, boards):
    net = Builder(np.random.default_rng(2), (3, 10, 10))
    a = net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1))
    b = net.conv(net.host(net.host(a)), 12, (1, 1))
    c = net.conv(net.concat(a, b), 10, (10, 10))
    d = net.conv(net.pool(net.host(a), "max", (2, 2)), 16, (3, 3), groups=2)  # each group begins a word
    graph, image = net.graph(net.host(c, "Softmax"), b, d), net.image()
    folder = api.build(api.plan(graph, boards=boards, node=TINY), tmp_path / "built")
    driver = Driver(folder)
    assert len(driver.boards) == boards and len(driver.boards[0]["segments"]) == 2
    assert driver.manifest["image"]["im2col"]
    expected = run_golden(graph, image[None])
    for _ in range(2):
        values = driver.run(image)
        assert set(values) >= set(graph.outputs)
        for name, value in values.items():
            np.testing.assert_array_equal(value, expected[name][0])


@pytest.mark.parametrize("boards", [1, 2])
def test_a_driver_writes_several_inputs(tmp_path, boards):
    built, images = several_inputs.image_for_the_host()
    graph = load(built, calibrate=images)
    image = golden.quantize_input(graph, read_images(images, input_of(graph)))[0]
    driver = Driver(api.build(api.plan(graph, boards=boards, node=TINY), tmp_path / "built"))
    assert [(part["input"], "pieces" in part) for part in driver.manifest["parts"]] == [
        ("image", True),
        ("gate", False),
    ]
    values, expected = driver.run(image), run_golden(graph, image[None])
    for name in (*graph.outputs, *(part.value for part in graph.parts)):
        np.testing.assert_array_equal(values[name], expected[name][0])


@pytest.fixture(scope="module")
def design():
    net = Builder(np.random.default_rng(2), (3, 6, 6))
    return api.plan(net.graph(net.conv("image", 8, (3, 3))), boards=1, node=TINY)


@pytest.fixture(scope="module")
def no_verilog():
    """The node's Verilog takes a while, and is not what these tests are about."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node, "node_verilog", lambda config: "module node\nendmodule\n")
        yield


@pytest.fixture(scope="module")
def built(design, tmp_path_factory, no_verilog):
    """A folder that build wrote; copy it."""
    return api.build(design, tmp_path_factory.mktemp("built") / "out")


@pytest.fixture
def here(tmp_path, built, monkeypatch):
    """A folder with all sorts of things in it, where the command is given."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(built, "out")
    for name in ("existing", "web", "plain"):
        Path(name).mkdir()
        Path(name, "mine").write_text("mine")
    Path("web/manifest.json").write_text('{"name": "my app", "files": {}}')
    Path("file").write_text("mine")
    Path("link").symlink_to("plain")
    Path("link_to_ours").symlink_to("out")
    Path("dangling").symlink_to("nothing")
    return tmp_path


def test_the_manifest_says_that_no_board_waits_for_ever(design, built):
    said = json.loads((built / "manifest.json").read_text())["liveness"]
    assert said.pop("proved").startswith("every instruction on every board runs to its end")
    assert said == dataclasses.asdict(design.compiled.liveness) and said["instructions"] > 5


def test_the_manifest_says_how_large_regions_are_and_where_they_may_begin(design, built):
    (board,), dram = json.loads((built / "manifest.json").read_text())["boards"], design.compiled.boards[0].dram
    assert board["alignment"] == PAGE and board["stripe_bytes"] % PAGE == 0
    assert {Region[name.upper()]: tuple(place.values()) for name, place in board["regions"].items()} == dram.regions
    for place in board["regions"].values():
        assert place["offset"] % PAGE == place["bytes"] % PAGE == 0


def content(folder):
    """Everything below a folder: type, content or target, and the number of the file, by path."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        data = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[path] = (data, path.lstat().st_ino)
    return found


def refused(design, folder, match):
    before = content(".")
    with pytest.raises(PackageError, match=match):
        api.build(design, folder)
    assert content(".") == before


@pytest.mark.parametrize(
    "folder, match",
    [
        ("existing", "did not write"),
        ("new/../existing", "did not write"),
        ("link/../existing/", "did not write"),
        ("web", "did not write"),
        ("file", "is no folder"),
        ("link", "symbolic link to plain"),
        ("link_to_ours", "symbolic link to out"),
        ("dangling", "symbolic link to nothing"),
        (".", "the folder you are in"),
        ("..", "the folder you are in"),
        ("existing/..", "the folder you are in"),
        ("/", "the folder you are in"),
    ],
)
def test_build_never_deletes_what_it_did_not_write(design, here, folder, match):
    refused(design, folder, match)


def added(folder):
    (folder / "board0" / "notes").write_text("mine")


def added_folder(folder):
    (folder / "notes").mkdir()


def edited(folder):
    with (folder / "node.v").open("a") as file:
        file.write("// mine")


def edited_manifest(folder):
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"boards"', '"mine": 1, "boards"'))


def listed_by_hand(folder):
    """A user's file, and a manifest that claims it."""
    (folder / "notes").write_text("mine")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["notes"] = manifest["files"]["node.v"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def linked(folder):
    shutil.move(folder / "node.v", "node.v")
    (folder / "node.v").symlink_to(Path("node.v").resolve())


def linked_folder(folder):
    shutil.move(folder / "board0", "board0")
    (folder / "board0").symlink_to(Path("board0").resolve())


def without_manifest(folder):
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize(
    "change", [added, added_folder, edited, edited_manifest, listed_by_hand, linked, linked_folder, without_manifest]
)
def test_a_folder_of_ours_with_something_of_the_user_is_kept(design, here, change):
    change(Path("out"))
    refused(design, "out", r"did not write|was changed")


@pytest.mark.parametrize("folder", ["out", "out/", "existing/../out", "empty", "new/one", "new/../other"])
def test_what_build_wrote_or_what_is_empty_is_replaced(design, here, built, folder):
    Path("empty").mkdir()
    others = {path for path in content(".") if path.parts[0] not in ("out", "empty")}
    Path("out/board0/dram.bin").unlink()  # what is missing is nothing of the user's
    place = api.build(design, folder)
    assert place == Path(os.path.realpath(folder))
    for path in built.rglob("*"):
        assert path.is_dir() or (place / path.relative_to(built)).read_bytes() == path.read_bytes()
    kept = {path for path in content(".") if path.parts[0] not in ("out", "empty", "new", "other")}
    assert kept == others
    assert not [name for name in os.listdir(".") if name.startswith(".")]


@pytest.mark.parametrize("when", ["written", "moved"])
def test_a_failure_leaves_what_was_there(design, here, monkeypatch, when):
    """While the new one is written, and after the old one was moved aside."""
    before = content(".")
    if when == "written":
        monkeypatch.setattr(package, "_write_host_models", lambda *_: 1 / 0)
    else:
        rename = Path.rename
        monkeypatch.setattr(Path, "rename", lambda old, new: 1 / 0 if old.name == "new" else rename(old, new))
    with pytest.raises(ZeroDivisionError):
        api.build(design, "out")
    assert content(".") == before


def test_a_file_that_comes_during_the_build_is_kept(design, here, monkeypatch):
    write = package._write

    def slowly(*arguments):
        write(*arguments)
        Path("out/late").write_text("mine")

    monkeypatch.setattr(package, "_write", slowly)
    with pytest.raises(PackageError, match="late"):
        api.build(design, "out")
    assert Path("out/late").read_text() == "mine" and Path("out/node.v").exists()
