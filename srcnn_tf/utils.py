"""Pictures to training pairs and back: the reference's helpers under the reference's names.

Arrays are `(rows, cols)` or `(rows, cols, channels)`. Nothing here needs TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import LatchedFile, written_whole

Floats = NDArray[np.floating]
ENDINGS = frozenset({".bmp", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"})
NEUTRAL = 128 / 255  # Cb and Cr of a grey pixel
FORMAT = 1  # of train.h5: another number when other values are written for the same pictures
_ROWS_A_CHUNK = 64  # patches in one HDF5 chunk: 0.3 MB of 33 x 33 float32


# --- pictures in files ----------------------------------------------------------------------------


def prepare_data(directory: str | os.PathLike[str]) -> list[Path]:
    """Lists the pictures below a folder, sorted by path.

    Subfolders are searched, links to folders too (each folder once, so a link that loops ends). Hidden files
    and folders are passed over. A folder that does not exist has no pictures.
    """
    found: list[Path] = []
    visited: set[str] = set()
    for folder, subfolders, names in os.walk(directory, followlinks=True):
        subfolders[:] = [name for name in subfolders if name[0] != "."]
        real = os.path.realpath(folder)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        found += [Path(folder, name) for name in names if Path(name).suffix.lower() in ENDINGS and name[0] != "."]
    return sorted(found)


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Reads a picture as it is meant to be seen: turned as its EXIF data says, palette applied, opaque.

    Returns:
        uint8 array in 0..255: `(rows, cols)` for a grey (or 1-bit) picture, else RGB `(rows, cols, 3)`. Of sixteen
        bits, grey is rounded to eight, and RGB keeps its upper eight. Of an animated picture, the first frame.

    Raises:
        RunError: the file is not a picture, is damaged, or is of a kind that would be read wrongly.
    """
    try:
        with warnings.catch_warnings(), iio.imopen(path, "r", plugin="pillow") as file:
            # Pillow warns of odd transparency and of large pictures, neither of which is wrong here.
            warnings.simplefilter("ignore")
            stored = file.metadata(index=0, exclude_applied=False)["mode"]
            if stored.startswith("I;16"):
                sixteen = file.read(index=0, rotate=True).astype(np.float64)
                return np.rint(sixteen / 257).astype(np.uint8)
            if stored not in {"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}:
                raise RunError(
                    f"{path}: this kind of picture (Pillow mode {stored!r}) is not read; "
                    "convert it to 8-bit grey or RGB first."
                )
            grey = stored in {"1", "L", "LA", "La"}
            return np.asarray(file.read(index=0, mode="L" if grey else "RGB", rotate=True), np.uint8)
    except RunError:
        raise
    # Pillow's decoders raise nearly anything on a damaged file (SyntaxError and struct.error among them).
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise RunError(f"{path}: cannot be read as a picture ({reason}); replace or remove it.") from error


def imread(path: str | os.PathLike[str], is_grayscale: bool = True) -> Floats:
    """Reads the full-range luma of a picture, or its YCbCr channels (the reference's step 2).

    Returns:
        float64 in 0..255: `(rows, cols)` luma, or `(rows, cols, 3)` Y, Cb, Cr if not `is_grayscale`.

    Raises:
        RunError: see `read_image`.
    """
    channels = to_channels(read_image(path))
    return 255 * (channels[..., 0] if is_grayscale else with_chroma(channels))


def to_channels(image: NDArray[np.uint8]) -> Floats:
    """Turns a picture into the channels that the network works on.

    The luma is the reference's: 0.299 R + 0.587 G + 0.114 B, not rounded, of the picture after a round trip
    through 8-bit YCbCr. Cb and Cr are those of the 8-bit YCbCr picture.

    Args:
        image: uint8 `(rows, cols)` grey or `(rows, cols, 3)` RGB.

    Returns:
        float64 in [0, 1]: `(rows, cols, 1)` for grey, which is used as it is, else `(rows, cols, 3)` Y, Cb, Cr.
    """
    if image.ndim == 2:
        return image[..., np.newaxis] / 255.0
    ycbcr = Image.fromarray(image).convert("YCbCr")
    luma = np.asarray(ycbcr.convert("RGB")) @ np.array([0.299, 0.587, 0.114])
    return np.dstack([luma, np.asarray(ycbcr)[..., 1:]]) / 255.0


def to_image(channels: Floats) -> NDArray[np.uint8]:
    """Turns `(rows, cols, 1)` grey or `(rows, cols, 3)` full-range YCbCr in [0, 1] into a uint8 grey or RGB picture."""
    if channels.shape[-1] == 1:
        return to_uint8(channels[..., 0])
    luma, blue, red = channels[..., 0], channels[..., 1] - NEUTRAL, channels[..., 2] - NEUTRAL
    # JFIF's full-range form of ITU-R BT.601.
    rgb = [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue]
    return to_uint8(np.dstack(rgb))


def with_chroma(channels: Floats) -> Floats:
    """Gives `(rows, cols, 1)` grey in [0, 1] neutral Cb and Cr; `(rows, cols, 3)` is returned as it is."""
    if channels.shape[-1] == 3:
        return channels
    neutral = np.full_like(channels, NEUTRAL)
    return np.concatenate([channels, neutral, neutral], axis=-1)


def to_uint8(values: Floats) -> NDArray[np.uint8]:
    """Turns values in [0, 1] into uint8: times 255, clipped, rounded half up as MATLAB does."""
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)


def imsave(image: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Writes a uint8 grey `(rows, cols)` or RGB `(rows, cols, 3)` picture in the format of the name's ending.

    Raises:
        RunError: see `written_whole`.
    """
    encoded = iio.imwrite("<bytes>", image, plugin="pillow", extension=Path(path).suffix)
    with written_whole(path) as temporary:
        temporary.write_bytes(encoded)


# --- degrading and cutting ------------------------------------------------------------------------


def modcrop(image: NDArray, scale: int = 3) -> NDArray:
    """Cuts rows at the bottom and columns at the right until both counts are multiples of `scale`."""
    rows, cols = image.shape[:2]
    return image[: rows - rows % scale, : cols - cols % scale]


def degrade(label: Floats, scale: int = 3) -> Floats:
    """Takes detail from a picture by zooming it down and up again (the reference's step 4).

    Cubic splines without the prefilter, so both zooms smooth: this is not MATLAB's bicubic. At some sizes (150
    pixels at scale 3, say) rounding puts samples a hair outside the picture, and the reference's last rows or columns
    turn black or dark; mirrored, they do not. Everywhere else the two are equal.

    Args:
        label: `(rows, cols)` or `(rows, cols, channels)`, rows and cols multiples of `scale`.

    Returns:
        An array of the same shape and dtype.
    """
    if label.ndim == 3:
        return np.stack([degrade(label[..., channel], scale) for channel in range(label.shape[2])], axis=-1)
    small = ndimage.zoom(label, 1.0 / scale, prefilter=False, mode="mirror")
    return ndimage.zoom(small, scale, prefilter=False, mode="mirror")


def degraded_pair(image: NDArray[np.uint8], scale: int = 3) -> tuple[Floats, Floats]:
    """Makes what the network is given of a picture, and the truth it is measured by (the reference's steps 2 to 4).

    Args:
        image: uint8 `(rows, cols)` grey or `(rows, cols, 3)` RGB.

    Returns:
        degraded and original channels (see `to_channels`), both `(rows, cols, 1 or 3)` and modcropped.

    Raises:
        ValueError: the picture is smaller than `scale`.
    """
    return _degraded(to_channels(image), scale)


def _degraded(channels: Floats, scale: int) -> tuple[Floats, Floats]:
    original = modcrop(channels, scale)
    if original.size == 0:
        raise ValueError(f"{channels.shape[0]} x {channels.shape[1]} pixels are too few to be reduced {scale} times")
    return degrade(original, scale), original


def preprocess(path: str | os.PathLike[str], scale: int = 3, is_grayscale: bool = True) -> tuple[Floats, Floats]:
    """Reads a picture and makes the pair to learn from: degraded and original (the reference's steps 2 to 4).

    Returns:
        Two float64 arrays of one shape, in [0, 1]: `(rows, cols)`, or YCbCr `(rows, cols, 3)`.

    Raises:
        RunError: the picture cannot be read, or is smaller than `scale`.
    """
    channels = to_channels(read_image(path))
    try:
        if is_grayscale:
            degraded, original = _degraded(channels[..., :1], scale)
            return degraded[..., 0], original[..., 0]
        return _degraded(with_chroma(channels), scale)
    except ValueError as error:
        raise RunError(f"{path}: {error}.") from error


def sub_images(image: Floats, size: int, stride: int) -> Floats:
    """Cuts every `size` x `size` window at every `stride` pixels, row by row.

    Args:
        image: `(rows, cols, channels)`.

    Returns:
        `(count, size, size, channels)`; `count` is 0 where the picture is smaller than a window.
    """
    rows, cols, channels = image.shape
    if min(rows, cols) < size:
        return np.empty((0, size, size, channels), image.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), axis=(0, 1))[::stride, ::stride]
    return np.moveaxis(windows, 2, -1).reshape(-1, size, size, channels)


def training_pairs(path: Path, config: Config) -> tuple[Floats, Floats]:
    """Makes the sub-images of one picture (the reference's step 5).

    Returns:
        `(n, image_size, image_size, c_dim)` degraded and `(n, label_size, label_size, c_dim)` original, row by row.

    Raises:
        RunError: the picture cannot be read, or is smaller than one sub-image.
    """
    degraded, original = preprocess(path, config.scale, is_grayscale=config.c_dim == 1)
    shape = (*original.shape[:2], config.c_dim)
    margin = config.border // 2
    centre = original.reshape(shape)[margin : shape[0] - margin, margin : shape[1] - margin]
    data = sub_images(degraded.reshape(shape), config.image_size, config.stride)
    if not len(data):
        raise RunError(
            f"{path}: {shape[0]} x {shape[1]} pixels are smaller than one sub-image of "
            f"{config.image_size} x {config.image_size}; nothing can be learned from it."
        )
    return data, sub_images(centre, config.label_size, config.stride)


def merge(images: NDArray, size: Sequence[int]) -> NDArray:
    """Puts sub-images back together, `size = (rows, cols)` of them, row by row.

    Args:
        images: `(size[0] * size[1], height, width, channels)`, cut without overlap.

    Returns:
        `(size[0] * height, size[1] * width, channels)`.
    """
    height, width, channels = images.shape[1:]
    grid = images.reshape(size[0], size[1], height, width, channels)
    return grid.swapaxes(1, 2).reshape(size[0] * height, size[1] * width, channels)


# --- the training file ------------------------------------------------------------------------------


def fingerprint(paths: Iterable[Path], directory: str | os.PathLike[str]) -> str:
    """SHA-256 of the names below `directory` and of the contents of the files: the same pictures, the same text."""
    total = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:  # a link to nowhere, say: named when it is to be read as a picture
            content = "unreadable"
        total.update(f"{content} ".encode() + os.fsencode(path.relative_to(directory)) + b"\n")
    return total.hexdigest()


def input_setup(config: Config, paths: Sequence[Path], data_hash: str) -> list[str]:
    """Makes `checkpoint_dir`/train.h5 from every picture, unless the file there was made from just these.

    Args:
        paths: the pictures, below `config.train_dir`.
        data_hash: their `fingerprint`.

    Returns:
        A line for each picture that could not be used; none where the file was up to date and complete.

    Raises:
        RunError: no picture could be used, or the file cannot be written.
    """
    path = train_file(config)
    fields = ("image_size", "label_size", "stride", "scale", "c_dim", "degradation")
    source = json.dumps({"format": FORMAT, "data": data_hash} | {name: getattr(config, name) for name in fields})
    if (complaints := _complaints(path, source)) is None:
        complaints = []
        with written_whole(path) as temporary:
            _write_pairs(temporary, config, paths, source, complaints)
    return complaints


def train_file(config: Config) -> Path:
    """Where the training pairs are kept."""
    return Path(config.checkpoint_dir, "train.h5")


def _complaints(path: Path, source: str) -> list[str] | None:
    """What was said of the pictures when the file was made from `source`; None if it was not, or is not whole."""
    try:
        with h5py.File(path, "r") as file:
            count = file["pairs_a_picture"][()].sum()
            if file.attrs["source"] == source and len(file["data"]) == len(file["label"]) == count:
                return list(file["complaints"].asstr())
    except Exception:  # absent or cut short, and a damaged file raises nearly anything
        return None
    return None


def _write_pairs(path: Path, config: Config, paths: Sequence[Path], source: str, complaints: list[str]) -> None:
    counts = np.zeros(len(paths), np.int64)
    with LatchedFile(path) as disk, h5py.File(disk, "w") as file:
        for number, picture in enumerate(paths):
            try:
                data, label = training_pairs(picture, config)
            except RunError as error:
                complaints.append(str(error))
                continue
            make_data(file, data, label)
            disk.check()
            counts[number] = len(data)
        if not counts.any():
            raise RunError(
                f"None of the {len(paths)} pictures below {config.train_dir} can be trained on: "
                + " ".join(complaints[:3])
            )
        file["pairs_a_picture"] = counts
        file.create_dataset("complaints", data=complaints, dtype=h5py.string_dtype())
        file.attrs["source"] = source
        file.close()
        disk.check()


def make_data(file: h5py.File, data: Floats, label: Floats) -> None:
    """Appends pairs to the datasets `data` and `label` of an open HDF5 file, as float32, with a checksum a chunk."""
    for name, values in (("data", data), ("label", label)):
        shape = values.shape[1:]
        if name not in file:
            file.create_dataset(
                name, (0, *shape), np.float32, maxshape=(None, *shape), chunks=(_ROWS_A_CHUNK, *shape), fletcher32=True
            )
        dataset = file[name]
        dataset.resize(len(dataset) + len(values), axis=0)
        dataset[len(dataset) - len(values) :] = values


def read_data(path: str | os.PathLike[str]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Reads a training file.

    Returns:
        `data (n, 33, 33, c)` and `label (n, 21, 21, c)` (for the default sizes), float32, values about [0, 1];
        and how many of those pairs each picture gave, in the pictures' order.

    Raises:
        RunError: the file is absent or damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            return file["data"][()], file["label"][()], file["pairs_a_picture"][()]
    except Exception as error:  # a damaged file raises OSError, KeyError, ValueError and more
        raise RunError(f"{path}: cannot be read ({error}); delete it, and it is made again.") from error
