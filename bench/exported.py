"""Networks as exporters write them: ``python bench/exported.py [--networks NAME ...] [--packages FOLDER]`` makes them.

Needs the packages of the extra ``exporters``, and nothing of superlip. Architectures are those of torchvision, Keras,
ultralytics, MONAI and segmentation_models_pytorch, and each package's own exporter writes the file. Weights are random,
from a seed; batch norms take the statistics of the calibration photographs, as training would leave them.
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from brought import Network
from pictures import IMAGENET

SEED = 0


def _path(name: str, export: Callable[[Path, np.ndarray], None], folder: Path) -> Path:
    """Its file, made where it is not there."""
    path = folder / "exported" / f"{name}.onnx"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial_path = path.with_name(f"{name}.partial.onnx")
        export(partial_path, NETWORKS[name].images(0))
        partial_path.replace(path)
    return path


def _settle(model: Any, images: np.ndarray) -> None:
    """Batch norms of a torch module get the statistics of images, and it infers from now on."""
    import torch  # noqa: PLC0415 - of the extra

    norms = [module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all that it has seen
    model.train()
    with torch.no_grad():
        model(torch.from_numpy(images))
    model.eval()


def _torch(make: Callable[[], Any], path: Path, images: np.ndarray, *, dynamo: bool) -> None:
    """A torch module, by the exporter of torch.export or the older one of TorchScript."""
    import torch  # noqa: PLC0415 - of the extra

    torch.manual_seed(SEED)
    model = make()
    _settle(model, images)
    options = {"external_data": False, "verbose": False} if dynamo else {}
    torch.onnx.export(model, (torch.from_numpy(images[:1]),), str(path), dynamo=dynamo, **options)


def _torchvision(name):
    import torchvision  # noqa: PLC0415 - of the extra

    options = {"init_weights": True} if name == "inception_v3" else {}
    return torchvision.models.get_model(name, weights=None, **options)


def _monai_unet(upsample):
    from monai.networks.nets import BasicUNet  # noqa: PLC0415 - of the extra

    return BasicUNet(2, 3, 2, features=(16, 16, 32, 64, 128, 16), norm="batch", upsample=upsample)


def _resnet_unet():
    import segmentation_models_pytorch as smp  # noqa: PLC0415 - of the extra

    return smp.Unet("resnet18", encoder_weights=None, classes=2, decoder_interpolation="bilinear")


def _sesr():
    """SESR-M5 for twice the size, its linear blocks collapsed to one convolution each as for inference."""
    import torch  # noqa: PLC0415 - of the extra

    class Sesr(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 5, padding=2), torch.nn.PReLU(16))
            blocks = [(torch.nn.Conv2d(16, 16, 3, padding=1), torch.nn.PReLU(16)) for _ in range(5)]
            self.middle = torch.nn.Sequential(*(layer for block in blocks for layer in block))
            self.last = torch.nn.Conv2d(16, 4, 5, padding=2)
            self.shuffle = torch.nn.PixelShuffle(2)

        def forward(self, image):
            features = self.first(image)
            return self.shuffle(self.last(self.middle(features) + features) + image)

    return Sesr()


def _keras(name: str, path: Path, images: np.ndarray) -> None:
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import keras  # noqa: PLC0415 - of the extra

    keras.utils.set_random_seed(SEED)
    model = getattr(keras.applications, name)(weights=None)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
    model(images, training=True)
    model.export(str(path), format="onnx", verbose=False)


def _ultralytics(name: str, path: Path, images: np.ndarray) -> None:
    os.environ["YOLO_AUTOINSTALL"] = "false"
    os.environ["YOLO_CONFIG_DIR"] = str(path.parent)
    import torch  # noqa: PLC0415 - of the extra
    import ultralytics  # noqa: PLC0415 - of the extra

    torch.manual_seed(SEED)
    yolo = ultralytics.YOLO(f"{name}.yaml")
    _settle(yolo.model, images)
    yolo.model.pt_path = str(path.with_suffix(".pt"))  # the exporter names its file as the weights'
    made = yolo.export(format="onnx", imgsz=images.shape[-1], simplify=False)
    Path(made).replace(path)


def _of_torch(titles: dict[str, tuple[str, Callable[[], Any], tuple[int, ...]]], *normal) -> dict[str, Network]:
    """Each by both exporters."""
    networks = {}
    for name, (title, make, shape) in titles.items():
        for key, by, dynamo in ((name, "dynamo", True), (f"{name}_script", "TorchScript", False)):
            path = partial(_path, key, partial(_torch, make, dynamo=dynamo))
            networks[key] = Network(f"{title} ({by})", path, shape, *normal)
    return networks


def _titles(names, size=224):
    return {name: (title, partial(_torchvision, name), (3, size, size)) for name, title in names.items()}


def _of_keras(name, normal):
    return Network(
        f"{name} (Keras)", partial(_path, f"keras_{name.lower()}", partial(_keras, name)), (224, 224, 3), *normal
    )


def _of_ultralytics(name, title):
    return Network(f"{title} (ultralytics)", partial(_path, name, partial(_ultralytics, name)), (3, 640, 640))


SIGNED, BYTES = (0.5, 0.5), (0.0, 1 / 255)
"""How Keras' networks take pixels: from -1 to 1, or as bytes, which they scale themselves."""
NETWORKS = {
    **_of_torch(
        _titles({
            "shufflenet_v2_x1_0": "ShuffleNet v2", "mobilenet_v3_small": "MobileNet v3 small",
            "mobilenet_v3_large": "MobileNet v3 large", "mobilenet_v2": "MobileNet v2", "mnasnet1_0": "MNASNet",
            "regnet_x_400mf": "RegNet X", "regnet_y_400mf": "RegNet Y", "efficientnet_b0": "EfficientNet-B0",
            "densenet121": "DenseNet-121", "resnext50_32x4d": "ResNeXt-50",
        })
        | _titles({"inception_v3": "Inception v3"}, 299),
        *IMAGENET,
    ),
    "keras_mobilenet": _of_keras("MobileNet", SIGNED),
    "keras_mobilenetv2": _of_keras("MobileNetV2", SIGNED),
    "keras_mobilenetv3small": _of_keras("MobileNetV3Small", BYTES),
    "keras_efficientnetb0": _of_keras("EfficientNetB0", BYTES),
    "yolov8n": _of_ultralytics("yolov8n", "YOLOv8n"),
    "yolov8n-seg": _of_ultralytics("yolov8n-seg", "YOLOv8n-seg"),
    "yolo11n": _of_ultralytics("yolo11n", "YOLO11n"),
    **_of_torch({
        "unet_deconv": ("U-Net, ConvTranspose, MONAI", partial(_monai_unet, "deconv"), (3, 128, 128)),
        "unet_aligned": ("U-Net, aligned bilinear Resize, MONAI", partial(_monai_unet, "nontrainable"), (3, 128, 128)),
        "unet_resnet18": ("U-Net of ResNet-18, bilinear Resize, SMP", _resnet_unet, (3, 128, 128)),
    }, *IMAGENET),
    **_of_torch({"sesr": ("SESR-M5, twice the size", _sesr, (1, 180, 320))}),
}  # fmt: skip


def main() -> int:
    """Make the files that are asked for and not there yet; a failure does not keep the others from it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME")
    parser.add_argument("--packages", type=Path, default=Path("packages"), help="folder, as of zoo.py")
    arguments = parser.parse_args()
    failed = 0
    for name in arguments.networks:
        begin = time.monotonic()
        try:
            path = NETWORKS[name].path(arguments.packages)
        except Exception:  # an exporter raises whatever its parts raise
            traceback.print_exc()
            failed += 1
            continue
        print(f"{path}: {time.monotonic() - begin:.0f} s")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
