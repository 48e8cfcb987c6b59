"""bench/networks.py, the table of docs/performance.md."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def bench(folder, *arguments):
    """Rows of the table, and its page."""
    files = ["--json", folder / "p.json", "--markdown", folder / "p.md"]
    subprocess.run([sys.executable, ROOT / "bench" / "networks.py", *arguments, *files], check=True)
    return json.loads((folder / "p.json").read_text())["rows"], (folder / "p.md").read_text()


def check(row):
    assert row["mismatches"] == 0 < row["values_compared"]
    assert sum(row["columns"].values()) == row["cycles"] == sum(layer["cycles"] for layer in row["layers"])
    assert row["cycles"] <= row["first_image_cycles"]


def test_a_file_on_one_board_and_two(tmp_path):
    rows, page = bench(tmp_path, "--networks", ROOT / "examples" / "digits" / "digits.onnx", "--node", "tiny")
    for boards, row in enumerate(rows, start=1):
        check(row)
        assert row["boards"] == boards and row["onnxruntime_mismatches"] == 0
        assert f"| digits | {boards} | {row['cycles']:,} | {row['first_image_cycles']:,} |" in page
    assert rows[1]["cycles"] < 0.6 * rows[0]["cycles"]


def test_there_is_no_such_network(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        bench(tmp_path, "--networks", "vgg17")


@pytest.mark.slow
def test_squeezenet(tmp_path):
    [row], page = bench(tmp_path, "--networks", "squeezenet", "--boards", "1")
    check(row)
    assert row["share_of_peak"] > 0.4 and "| SqueezeNet | 1 |" in page
