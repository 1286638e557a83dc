"""Turns images into training patches and back: the reference's helpers under the reference's names.

Read `input_setup` first: it calls the others in order, from `imread` to `make_data`. Testing uses `prepare_data`,
`preprocess` and `imsave` too. Arrays are `(rows, cols)` or `(rows, cols, channels)`. Nothing here needs TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from srcnn_tf.config import Compression, Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.color import (
    LUMA_GAIN,
    Floats,
    channels_to_image,
    luma_weights,
    rgb_to_ycbcr,
    to_channels,
    to_luma,
    to_three_channels,
)
from srcnn_tf.images.read import IMAGE_EXTENSIONS, declared_size, read_image
from srcnn_tf.images.resize import imresize, zoom
from srcnn_tf.spec import ColorSpace
from srcnn_tf.system.files import DeferredErrorFile, atomic_write
from srcnn_tf.system.threads import cores, map_in_threads

FORMAT = 3  # of train.h5: increase it when other values are written for the same images
CHUNK = 64  # patches per HDF5 chunk of train.h5: 0.3 MB of 33 x 33 float32
PATCHES_PER_WRITE = 2048  # fewer make many slow calls of HDF5
LARGE_IMAGE = 2**29  # bytes of patches of one image; such images are prepared one after the other
# What images are compressed with in training, under `jpeg`; chosen on validation images, see docs/experiments.md.
JPEG_QUALITIES = (40, 100)
CLEAN_SHARE = 0.05
MAX_PATCH_BYTES_IN_MEMORY = 256 * 2**20  # of a training file; one with more is read in parts. T91 has 134 MB

# --- Image files ---


def prepare_data(directory: str | os.PathLike[str], extensions: Collection[str] = IMAGE_EXTENSIONS) -> list[Path]:
    """Lists the image files below a folder, sorted by path.

    Subfolders are searched, and linked folders too (each folder once, so that a circular link ends). Hidden files and
    folders are skipped. A folder that does not exist has no images.

    Raises:
        PermissionError: a folder may not be read.
    """

    def report(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise error

    found: list[Path] = []
    visited: set[str] = set()
    for folder, subfolders, names in os.walk(directory, onerror=report, followlinks=True):
        subfolders[:] = [name for name in subfolders if name[0] != "."]
        real = os.path.realpath(folder)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        found += [Path(folder, name) for name in names if Path(name).suffix.lower() in extensions and name[0] != "."]
    return sorted(found, key=lambda path: path.parts)  # on Windows, paths compare without regard to case


def imread(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Reads an image as uint8 `(rows, cols)` grey or `(rows, cols, 3)` RGB (the reference's step 2).

    Raises:
        RunError: the file cannot be read, see `images.read.read_image`.
    """
    return read_image(path)


def imsave(image: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Writes a uint8 grey `(rows, cols)` or RGB `(rows, cols, 3)` image as a PNG file.

    Raises:
        RunError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(to_png(image))


def to_png(image: NDArray[np.uint8]) -> bytes:
    """Encodes a uint8 grey `(rows, cols)` or RGB `(rows, cols, 3)` image as PNG.

    One filter for all rows, and runs instead of any repetition, are enough for photographs: 7 times as fast as Pillow's
    default, for files of 4 % more bytes (test results).
    """
    png = imagecodecs.PNG
    pixels = np.ascontiguousarray(image)
    return bytes(imagecodecs.png_encode(pixels, level=1, strategy=png.STRATEGY.RLE, filter=png.FILTER.PAETH))


# --- Degradation and patches ---


def modcrop(image: NDArray, scale: int = 3) -> NDArray:
    """Crops rows at the bottom and columns at the right to multiples of `scale`."""
    rows, cols = image.shape[:2]
    return image[: rows - rows % scale, : cols - cols % scale]


def degrade(
    label: Floats, scale: int = 3, degradation: str = "scipy", compress: Callable[[Floats], Floats] | None = None
) -> Floats:
    """Downscales an image and upscales it again.

    `scipy` zooms down and up as SciPy does (the reference's step 4): cubic splines without the prefilter, so that both
    zooms smooth. At some sizes (150 pixels at scale 3, for example) rounding puts samples slightly out of the image,
    and the reference's last rows or columns turn black or dark; here they are mirrored. Elsewhere both are equal.

    `matlab` is the paper's: bicubic as MATLAB's `imresize`, without rounding in between. So is `jpeg`, where the small
    image is compressed.

    Args:
        label: `(rows, cols)` or `(rows, cols, channels)`, rows and cols multiples of `scale`.
        scale: factor of both steps.
        degradation: one of `config.DEGRADATIONS`.
        compress: what is done to the small image, if anything.

    Returns:
        An array of the same shape and dtype.
    """
    resize = zoom if degradation == "scipy" else imresize
    small = resize(label, 1 / scale)
    return resize(small if compress is None else compress(small), scale)


def jpeg(channels: Floats, compression: Compression, space: ColorSpace, is_luma: bool = False) -> Floats:
    """Compresses an image as JPEG files are: 8 x 8 blocks, colour with one chroma pixel for 2 x 2 of luma.

    Args:
        channels: `(rows, cols, 1 or 3)` in [0, 1]: grey, or Y, Cb, Cr in the studio range, or R, G, B.
        compression: the quality, and where the blocks begin: the image is mirrored at its edges for that.
        space: what three channels are.
        is_luma: whether one channel is the luma of a colour image, in the studio range. It is compressed as JPEG files
            have it, in the full range.

    Returns:
        An array of the same shape, float64.
    """
    count, (_, black) = channels.shape[2], luma_weights(studio=True)
    above, left = compression.block_offset
    padded = np.pad(channels, ((above, 0), (left, 0), (0, 0)), mode="symmetric")
    if is_luma:
        padded = (padded - black) * LUMA_GAIN
    encoded = imagecodecs.jpeg8_encode(channels_to_image(padded, space), compression.quality, subsampling="420")
    decoded = imagecodecs.jpeg8_decode(encoded).reshape(*padded.shape[:2], count)[above:, left:] / 255
    if is_luma:
        return decoded / LUMA_GAIN + black
    return decoded if count == 1 or space.channels == "rgb" else rgb_to_ycbcr(decoded, studio=True)


def random_compression(rng: np.random.Generator) -> Compression | None:
    """Draws how a training image is compressed under `jpeg`; None: not at all."""
    if rng.random() < CLEAN_SHARE:
        return None
    quality, row, col = (int(rng.integers(*limits, endpoint=True)) for limits in (JPEG_QUALITIES, (0, 7), (0, 7)))
    return Compression(quality, (row, col))


def preprocess(
    image: NDArray[np.uint8],
    config: Config,
    c_dim: int | None = None,
    grid_offset: tuple[int, int] = (0, 0),
    compression: Compression | None = None,
) -> tuple[Floats, Floats]:
    """Makes the network's input and its ground truth from an image (the reference's steps 2 to 4).

    Args:
        image: uint8 `(rows, cols)` grey or `(rows, cols, 3)` RGB.
        config: gives scale, degradation and colour space; luma and chroma have studio range but under `scipy`.
        c_dim: channels wanted: 1 for luma, 3 for colour. Default: as many as the image has.
        grid_offset: rows and columns, below `scale`, by which the grid of the downscaled pixels is shifted against the
            image, which is mirrored at its edges for that. The ground truth stays the same.
        compression: of the small image, if it is compressed.

    Returns:
        Degraded and original channels, both float64 `(rows, cols, 1 or 3)` in about [0, 1], cropped to multiples of
        the scale.

    Raises:
        ValueError: the image is smaller than `scale`.
    """
    space = config.network.color
    if c_dim == 1:
        channels = to_luma(image, space)
    else:
        channels = to_channels(image, space)
        channels = to_three_channels(channels, space) if c_dim == 3 else channels
    scale, original = config.scale, modcrop(channels, config.scale)
    if original.size == 0:
        raise ValueError(f"{image.shape[0]} x {image.shape[1]} pixels are too few to be reduced {scale} times")
    rows, cols = original.shape[:2]
    above, left = grid_offset
    padded = np.pad(original, ((above, -above % scale), (left, -left % scale), (0, 0)), mode="symmetric")
    compress = None
    if compression is not None:
        compress = partial(jpeg, compression=compression, space=space, is_luma=c_dim == 1 and image.ndim == 3)
    degraded = degrade(padded, scale, config.degradation, compress)
    return degraded[above : above + rows, left : left + cols], original


def extract_patches(degraded: Floats, original: Floats, config: Config) -> tuple[Floats, Floats]:
    """Extracts the training patches of an image, row by row (the reference's step 5).

    Args:
        degraded: `(rows, cols, c_dim)`, see `preprocess`.
        original: likewise.
        config: gives the sizes of the patches and their stride.

    Returns:
        float32 `(n, image_size, image_size, c_dim)` degraded patches and `(n, label_size, label_size, c_dim)` labels,
        which are their centres in the original.

    Raises:
        ValueError: the image is smaller than one patch.
    """
    rows, cols = original.shape[:2]
    if min(rows, cols) < config.image_size:
        raise ValueError(
            f"{rows} x {cols} pixels are smaller than one patch of {config.image_size} x {config.image_size}; "
            "it cannot be used for training"
        )
    margin = config.network.border // 2
    inner = original[margin : rows - margin, margin : cols - margin]
    # float32 before the extraction: patches overlap, and hold several times as many numbers.
    data, label = (
        np.lib.stride_tricks.sliding_window_view(channels.astype(np.float32), (size, size), axis=(0, 1))[
            :: config.stride, :: config.stride
        ]
        for channels, size in ((degraded, config.image_size), (inner, config.label_size))
    )
    data, label = np.moveaxis(data, 2, -1), np.moveaxis(label, 2, -1)
    return data.reshape(-1, *data.shape[2:]), label.reshape(-1, *label.shape[2:])


def merge(images: NDArray, size: Sequence[int]) -> NDArray:
    """Joins patches into one image, `size = (rows, cols)` of them, row by row.

    Args:
        images: `(size[0] * size[1], height, width, channels)`, without overlap.

    Returns:
        `(size[0] * height, size[1] * width, channels)`.
    """
    height, width, channels = images.shape[1:]
    grid = images.reshape(size[0], size[1], height, width, channels)
    return grid.swapaxes(1, 2).reshape(size[0] * height, size[1] * width, channels)


# --- The training file ---


def input_setup(config: Config, paths: Sequence[Path], data_hash: str) -> list[str]:
    """Writes `checkpoint_dir`/train.h5 from the training images, unless it is up to date.

    The file holds `data` and `label` (see `extract_patches`), `patches_per_image` and `warnings`; and, if the patches
    fit in memory, the decoded `images` themselves, so that new patches can be extracted from them in each epoch.

    Args:
        config: gives sizes, scale, degradation and colour space.
        paths: the images, by `prepare_data(config.train_dir)`.
        data_hash: their `images.read.fingerprint`.

    Returns:
        A warning for each image that cannot be used.

    Raises:
        RunError: no image can be used, or the file does not fit on the disk or cannot be written.
    """
    path, source = train_file(config), _source(config, data_hash)
    if not _is_up_to_date(path, source):
        with atomic_write(path) as temporary:
            temporary.unlink(missing_ok=True)  # a killed run may have left it, and it takes disk space
            largest, total = _check_disk_space(path, paths, config)
            with DeferredErrorFile(temporary) as disk, h5py.File(disk, "w") as file:
                threads = 1 if largest > LARGE_IMAGE else cores()
                _write_patches(file, disk, config, paths, threads, keep_images=total <= MAX_PATCH_BYTES_IN_MEMORY)
                file.attrs["source"] = source
                file.close()
                disk.check()
    with open_data(path) as file:
        return list(file["warnings"].asstr()[()])


def _write_patches(
    file: h5py.File, disk: DeferredErrorFile, config: Config, paths: Sequence[Path], threads: int, keep_images: bool
) -> None:
    def extract(item: tuple[int, Path]) -> tuple[NDArray[np.uint8], Floats, Floats] | str:
        number, path = item
        compression = random_compression(np.random.default_rng(number)) if config.degradation == "jpeg" else None
        try:
            image = imread(path)
            channels = preprocess(image, config, config.c_dim, compression=compression)
            return image, *extract_patches(*channels, config)
        except RunError as error:
            return str(error)
        except ValueError as error:
            return f"{path}: {error}."

    counts, warnings = [], []
    pending: list[tuple[Floats, Floats]] = []
    for number, result in enumerate(map_in_threads(extract, enumerate(paths), threads)):
        if isinstance(result, str):
            counts.append(0)
            warnings.append(result)
        else:
            image, data, label = result
            counts.append(len(data))
            pending.append((data, label))
            if keep_images:
                file[f"images/{number}"] = image
        if pending and (sum(len(data) for data, _ in pending) >= PATCHES_PER_WRITE or number == len(paths) - 1):
            make_data(file, *(np.concatenate(patches) for patches in zip(*pending, strict=True)))
            pending.clear()
            disk.check()
    if not any(counts):
        raise RunError(
            f"None of the {len(counts)} images below {config.train_dir} can be used for training: "
            + " ".join(warnings[:3])
        )
    file["patches_per_image"] = counts
    file.create_dataset("warnings", data=warnings, dtype=h5py.string_dtype())


def train_file(config: Config) -> Path:
    """Returns the path of the training file."""
    return Path(config.checkpoint_dir, "train.h5")


def patch_bytes(config: Config) -> int:
    """Returns the bytes that one patch and its label take in memory and in the training file."""
    return 4 * config.c_dim * (config.image_size**2 + config.label_size**2)


def _source(config: Config, data_hash: str) -> str:
    """Describes what a training file is made from, for its attribute `source`."""
    fields = ("image_size", "label_size", "stride", "scale", "c_dim", "color_space", "degradation")
    return json.dumps({"format": FORMAT, "data": data_hash} | {name: getattr(config, name) for name in fields})


def _is_up_to_date(path: Path, source: str) -> bool:
    try:
        with h5py.File(path, "r") as file:
            count = file["patches_per_image"][()].sum()
            list(file["warnings"].asstr()[()])
            return file.attrs["source"] == source and len(file["data"]) == len(file["label"]) == count
    except Exception:  # absent or truncated; a damaged file raises many types
        return False


def _check_disk_space(path: Path, images: Sequence[Path], config: Config) -> tuple[int, int]:
    """Compares the size of the patches, from the sizes that the images declare, with the free disk space.

    Returns:
        Bytes of the patches of the largest image, and of all images.
    """
    sizes = [0]
    for image in images:
        last = [side - side % config.scale - config.image_size for side in declared_size(image)]
        sizes.append(math.prod(max(0, side // config.stride + 1) for side in last) * patch_bytes(config))
    total, free = sum(sizes), shutil.disk_usage(path.parent).free
    if total > free:
        raise RunError(
            f"{path}: the patches of {len(images)} images take {total / 1e9:.3g} GB, but only {free / 1e9:.3g} GB are "
            "free. Free some disk space, name another --checkpoint_dir, or give a larger --stride."
        )
    return max(sizes), total


def make_data(file: h5py.File, data: Floats, label: Floats) -> None:
    """Appends patches to the datasets `data` and `label` of an open HDF5 file, as float32 with a checksum per chunk."""
    for name, values in (("data", data), ("label", label)):
        shape = values.shape[1:]
        if name not in file:
            file.create_dataset(
                name, (0, *shape), np.float32, maxshape=(None, *shape), chunks=(CHUNK, *shape), fletcher32=True
            )
        dataset = file[name]
        dataset.resize(len(dataset) + len(values), axis=0)
        dataset[len(dataset) - len(values) :] = values


def read_data(
    path: str | os.PathLike[str], indices: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reads the patches of a training file, or some of them.

    Args:
        path: the file.
        indices: which patches, ascending; default: all.

    Returns:
        `data (n, 33, 33, c)` and `label (n, 21, 21, c)` (for the default sizes), float32, values about [0, 1].

    Raises:
        RunError: the file is absent or damaged.
    """
    with open_data(path) as file:
        if indices is None:
            return file["data"][()], file["label"][()]
        arrays = []
        for dataset in (file["data"], file["label"]):
            array = np.empty((len(indices), *dataset.shape[1:]), dataset.dtype)
            for begin in np.unique(indices // CHUNK) * CHUNK:
                part = slice(*np.searchsorted(indices, (begin, begin + CHUNK)))
                array[part] = dataset[begin : begin + CHUNK][indices[part] - begin]
            arrays.append(array)
        return arrays[0], arrays[1]


@contextlib.contextmanager
def open_data(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Opens a training file for reading.

    Raises:
        RunError: the file is absent or damaged; also when that is noticed while it is read.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (RunError, MemoryError):
        raise
    except Exception as error:  # a damaged file raises OSError, KeyError, ValueError and more
        raise RunError(
            f"{path}: cannot be read ({error}). Delete it, and the same command creates it again."
        ) from error
