"""bench/networks.py, the table of docs/performance.md."""

import json
import subprocess
import sys

import numpy as np
import pytest
from paths import ROOT


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
        ours, best = row["agreement"]["decibels"], row["onnxruntime_quantizer"]["decibels"]
        assert min(ours, best) > 30
        cells = f"{ours:.1f} dB ({best:.1f}) | {row['cycles']:,} | {row['first_image_cycles']:,}"
        assert f"| digits | {boards} | {cells} |" in page
    assert rows[1]["cycles"] < 0.6 * rows[0]["cycles"]
    assert rows[0]["agreement"]["images"] == 360 and "| 99.4 %, 99.4 % |" in page


def test_there_is_no_such_network(tmp_path):
    with pytest.raises(subprocess.CalledProcessError):
        bench(tmp_path, "--networks", "vgg17")


@pytest.fixture
def modules(monkeypatch):
    """The bench's own modules: judged, networks, pictures."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    import judged  # noqa: PLC0415
    import networks  # noqa: PLC0415
    import pictures  # noqa: PLC0415

    return judged, networks, pictures


def test_made_up_weights_are_judged_on_photographs_by_their_scores(modules, tmp_path, monkeypatch):
    judged, networks, pictures = modules
    monkeypatch.setenv("SUPERLIP_CACHE", str(tmp_path / "cache"))
    script = tmp_path / "make.py"
    vgg16 = str(ROOT / "examples" / "vgg16" / "make.py")
    sizes = "size=32, blocks=((8,), (16,)), dense=(10,)"
    script.write_text(f"import runpy\ndef network():\n    return runpy.run_path({vgg16!r})['network']({sizes})\n")
    notes = []
    found = judged.judge(judged.Source("small", script), notes.append)
    assert found.agreement.has_random_weights and found.agreement.kind == "float"
    assert [output.name for output in found.agreement.outputs] == ["fc3_out"]  # what Softmax takes, not 0s and a 1
    assert found.agreement.decibels > max(25, found.attainable.decibels - networks.BEHIND_DB)
    assert found.cross.mismatches == 0
    np.testing.assert_array_equal(found.images.images, pictures.photographs(pictures.HELD_OUT, (3, 32, 32)))
    assert not set(pictures.HELD_OUT) & set(pictures.CALIBRATION)
    count = len(notes)
    again = judged.judge(judged.Source("small", script), notes.append)
    assert again.agreement == found.agreement and len(notes) == count > 0


@pytest.mark.parametrize("shape", [(3, 224, 224), (3, 40, 100)])
def test_photographs(modules, shape):
    _, _, pictures = modules
    images = pictures.photographs([*pictures.CALIBRATION, *pictures.HELD_OUT], shape)
    assert images.dtype == np.float32 and images.shape == (6, *shape)
    assert np.abs(images).max() < 3 and images.std(axis=(1, 2, 3)).min() > 0.3
    with pytest.raises(ValueError, match=r"not \(1, 8, 8\)"):
        pictures.photographs(pictures.HELD_OUT, (1, 8, 8))


@pytest.mark.parametrize(
    ("mismatches", "poor", "ours", "best", "count"),
    [(0, False, 30.0, 31.0, 0), (0, False, 30.0, 31.6, 1), (3, True, 9.0, 30.0, 3), (0, True, 12.0, 12.0, 1)],
)
def test_what_fails(modules, mismatches, poor, ours, best, count):
    """A wrong bit, an output far from the model's, and being behind ONNX Runtime's quantizer."""
    _, networks, _ = modules
    row = {
        "title": "net", "mismatches": mismatches, "agreement": {"is_poor": poor, "decibels": ours},
        "onnxruntime_quantizer": {"decibels": best},
    }  # fmt: skip
    assert len(networks.failed([row, row])) == count


@pytest.mark.slow
def test_squeezenet(tmp_path):
    [row], page = bench(tmp_path, "--networks", "squeezenet", "--boards", "1")
    check(row)
    assert row["share_of_peak"] > 0.4 and "| SqueezeNet | 1 |" in page
