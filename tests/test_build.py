"""What ``superlip build`` writes is enough to drive the boards: a driver that knows the manifest only."""

import json

import numpy as np
import onnxruntime
import pytest
from nets import Builder
from superlip.boards import TARGETS
from superlip.sim.functional import FunctionalCluster

from superlip import flow
from superlip.golden.run import run as run_golden

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
        self.cluster = FunctionalCluster(TINY.node, images, self.boards[0]["stripe_bytes"], 1 << 17)
        self.cluster.run([board["init_program"] for board in self.boards])

    def run(self, image):
        values = {self.manifest["image"]["value"]: image}
        self.write(self.manifest["image"], image if self.manifest["image"]["im2col"] is None else self.im2col(image))
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
        (kh, kw), (top, left, bottom, right) = how["kernel"], how["pads"]
        assert how["strides"] == how["dilations"] == [1, 1]
        padded = np.pad(image, ((0, 0), (top, bottom), (left, right)), constant_values=how["pad_value"])
        windows = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), axis=(1, 2))
        return windows.transpose(0, 3, 4, 1, 2).reshape(-1, *windows.shape[1:3])

    def write(self, described, value):
        tn = TINY.node.tn
        channels = np.zeros((described["first_channel"] + len(value) + tn, *value.shape[1:]), np.int8)
        channels[described["first_channel"] :][: len(value)] = value
        for piece in described["pieces"]:
            rows = channels[piece["group"] * tn :][:tn, piece["row"] : piece["row"] + piece["rows"]]
            (offset, length), *more = piece["ranges"]
            data = rows.transpose(1, 2, 0).tobytes()
            assert not more and len(data) == length
            self.cluster.write(piece["board"], offset, data)

    def read(self, described):
        tn, (c, h, w), first = TINY.node.tn, described["shape"], described["first_channel"]
        channels = np.zeros((first + c + tn, h, w), np.int8)
        for piece in described["pieces"]:
            data = np.frombuffer(self.cluster.read(piece["board"], *piece["ranges"][0]), np.int8)
            words = data.reshape(piece["rows"], described["width"], tn).transpose(2, 0, 1)
            channels[piece["group"] * tn :][:tn, piece["row"] : piece["row"] + piece["rows"]] = words
        return channels[first : first + c]


@pytest.mark.parametrize("boards", [1, 2])
def test_a_driver_needs_only_the_files(tmp_path, boards):
    net = Builder(np.random.default_rng(2), (3, 10, 10))
    a = net.conv("image", 12, (3, 3), pads=(1, 1, 1, 1))
    b = net.conv(net.host(net.host(a)), 12, (1, 1))
    c = net.conv(net.concat(a, b), 10, (10, 10))
    graph, image = net.graph(net.host(c, "Softmax"), b), net.image()
    folder = flow.build(flow.plan(graph, boards=boards, node=TINY), tmp_path / "built")
    driver = Driver(folder)
    assert len(driver.boards) == boards and len(driver.boards[0]["segments"]) == 2
    assert driver.manifest["image"]["im2col"]
    expected = run_golden(graph, image[None])
    for _ in range(2):
        values = driver.run(image)
        assert set(values) >= set(graph.outputs)
        for name, value in values.items():
            np.testing.assert_array_equal(value, expected[name][0])
