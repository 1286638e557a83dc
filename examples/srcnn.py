"""SRCNN in one file of plain Keras, from images to a scored comparison. Read it from top to bottom.

`python examples/srcnn.py` trains on eight sample images of scikit-image, in about a minute on two processor cores, and
tests on six others. --train_dir and --test_dir name folders of other images: Train/T91 and Test/Set5 are the paper's,
which `python main.py --fetch=T91,Set5` downloads.
The paper is Dong et al., "Image Super-Resolution Using Deep Convolutional Networks" (TPAMI 2016, arXiv 1501.00092).
The reference is tegg89/SRCNN-Tensorflow; its functions are named where this file does the same.
"""

import argparse
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

# 1. The images. These ship with scikit-image; none is in both lists.
TRAIN = "brick.png cell.png coffee.png grass.png gravel.png hubble_deep_field.jpg motorcycle_left.png rocket.jpg"
TEST = "astronaut.png camera.png chelsea.png coins.png ihc.png moon.png"


def list_images(folder: str | None, samples: str) -> list[Path]:
    """Lists the images in a folder and below; without a folder, the sample images of these names."""
    if folder is None:
        return [Path(str(resources.files("skimage.data") / name)) for name in samples.split()]
    paths = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in (".bmp", ".jpg", ".png"))
    return paths or sys.exit(f"{folder}: expected .bmp, .jpg or .png images in this folder or below, found none.")


# 2. Luma (the paper's section 4; the reference's `imread`). The eye sees detail in brightness, hardly in colour, so the
#    network restores one channel. Colours go through 8-bit YCbCr and back, as in the reference.
def read_luma(path: Path) -> np.ndarray:
    """Reads an image as luma, float64 `(rows, cols)` in [0, 1]."""
    image = Image.open(path)
    image = image if image.mode == "L" else image.convert("RGB").convert("YCbCr")
    return np.asarray(image.convert("RGB")) @ [0.299, 0.587, 0.114] / 255


# 3. Degradation (section 3.3; the reference's `modcrop` and `preprocess`): the image is cropped to a multiple of the
#    scale, downscaled, and upscaled again. What the reference calls bicubic are cubic splines without their prefilter,
#    which blur more. `mode`: SciPy's default is black beyond the edge, where rounding puts pixels at some image sizes.
def degrade(luma: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the degraded image, and the original cropped to the same size."""
    rows, cols = (size - size % scale for size in luma.shape)
    original = luma[:rows, :cols]
    small = ndimage.zoom(original, 1 / scale, prefilter=False, mode="mirror")
    return ndimage.zoom(small, scale, prefilter=False, mode="mirror"), original


# 4. Patches (sections 3.3 and 4.1; the reference's `input_setup`). The network learns from small parts of the images.
#    Its layers are not padded: of a patch of 33 x 33 pixels it restores the middle 21 x 21, and those are the label.
PATCH, LABEL, STRIDE = 33, 21, 14
MARGIN = 4 + 0 + 2  # pixels that the filters of 9, 1 and 5 pixels need on each side


def extract_patches(degraded: np.ndarray, original: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 `(n, 33, 33, 1)` degraded patches and `(n, 21, 21, 1)` labels, row by row."""
    rows, cols = (range(0, size - PATCH + 1, STRIDE) for size in original.shape)
    inner = original[MARGIN:, MARGIN:]
    data = [degraded[row : row + PATCH, col : col + PATCH] for row in rows for col in cols]
    label = [inner[row : row + LABEL, col : col + LABEL] for row in rows for col in cols]
    return np.float32(data).reshape(-1, PATCH, PATCH, 1), np.float32(label).reshape(-1, LABEL, LABEL, 1)


# 5. The network (section 3.1; the reference's `model.py`): three convolutions, 8,129 weights.
def build_network() -> keras.Model:
    """Returns a model from `(n, rows, cols, 1)` to `(n, rows - 12, cols - 12, 1)`."""
    conv, degraded = keras.layers.Conv2D, keras.Input((None, None, 1))
    features = conv(64, 9, activation="relu", kernel_initializer="he_normal", name="patch_extraction")(degraded)
    mapped = conv(32, 1, activation="relu", kernel_initializer="he_normal", name="nonlinear_mapping")(features)
    restored = conv(1, 5, kernel_initializer="he_normal", name="reconstruction")(mapped)
    return keras.Model(degraded, restored)


# 6. Training (section 3.3) minimizes the mean squared error of the restored patches, which maximizes their PSNR. Here,
#    this file leaves the paper: gradient descent, from weights of N(0, 0.001) at a rate of 1e-4, took its authors about
#    three days on a GPU. Adam, from He's initialization, at a rate that falls from 1e-3, gains in a minute.
def psnr(original: Any, image: Any) -> Any:
    """Returns the peak signal-to-noise ratio of images in [0, 1], in dB: the higher, the nearer to the original."""
    return -10 * keras.ops.log10(keras.ops.mean((original - image) ** 2))


def train(network: keras.Model, data: np.ndarray, label: np.ndarray, epochs: int) -> None:
    """Trains the network on patches and their labels."""
    rate = keras.optimizers.schedules.CosineDecay(1e-3, decay_steps=1 + epochs * len(data) // 32)
    network.compile(optimizer=keras.optimizers.Adam(rate), loss="mean_squared_error", metrics=[psnr])
    network.fit(data, label, batch_size=32, epochs=epochs, verbose=2)


# 7. Testing (section 4.4). Convolutions take any size: the whole image goes through at once, with its edge repeated.
def restore(network: keras.Model, degraded: np.ndarray) -> np.ndarray:
    """Returns the restored image, of the same size."""
    padded = np.pad(degraded, MARGIN, mode="edge")[np.newaxis, ..., np.newaxis]
    return keras.ops.convert_to_numpy(network(padded))[0, ..., 0]


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Converts [0, 1] to 0..255, rounded."""
    return (255 * image.clip(0, 1) + 0.5).astype(np.uint8)


def score(image: np.ndarray, original: np.ndarray, scale: int) -> float:
    """Returns the PSNR in dB of 8-bit pixels, without a frame of `scale` pixels."""
    image, original = (to_uint8(pixels)[scale:-scale, scale:-scale] / 255 for pixels in (image, original))
    return float(psnr(original, image))


def save_comparison(panels: dict[str, np.ndarray], path: Path) -> None:
    """Saves images side by side, each below its caption."""
    rows, cols = panels["original"].shape
    sheet, strip = Image.new("L", (len(panels) * cols, rows + cols // 10), "white"), cols // 10
    for left, (caption, image) in zip(range(0, sheet.width, cols), panels.items(), strict=True):
        sheet.paste(Image.fromarray(to_uint8(image)), (left, strip))
        middle, font = (left + cols / 2, strip / 2), ImageFont.load_default(cols // 16)
        ImageDraw.Draw(sheet).text(middle, caption, fill="black", font=font, anchor="mm")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--train_dir", help="folder of training images; without it, scikit-image's")
    parser.add_argument("--test_dir", help="folder of test images; without it, scikit-image's")
    parser.add_argument("--scale", type=int, default=3, help="factor of downscaling and upscaling")
    parser.add_argument("--epochs", type=int, default=10, help="how often each patch is trained on")
    parser.add_argument("--output", type=Path, default=Path("sample/example.png"), help="comparison of a test image")
    flags = parser.parse_args()
    keras.utils.set_random_seed(0)

    images = [degrade(read_luma(path), flags.scale) for path in list_images(flags.train_dir, TRAIN)]
    data, label = (np.concatenate(arrays) for arrays in zip(*(extract_patches(*pair) for pair in images), strict=True))
    network = build_network()
    train(network, data, label, flags.epochs)

    print(f"{'PSNR in dB':15} bicubic   SRCNN    gain")
    gains = []
    for path in list_images(flags.test_dir, TEST):
        degraded, original = degrade(read_luma(path), flags.scale)
        restored = restore(network, degraded)
        before, after = score(degraded, original, flags.scale), score(restored, original, flags.scale)
        print(f"{path.stem:15} {before:7.2f} {after:7.2f} {after - before:+7.2f}")
        if not gains:
            panels = {f"bicubic {before:.2f} dB": degraded, f"SRCNN {after:.2f} dB": restored, "original": original}
            save_comparison(panels, flags.output)
        gains.append(after - before)
    print(f"Average gain: {np.mean(gains):+.2f} dB. {flags.output} compares the first of these images.")
