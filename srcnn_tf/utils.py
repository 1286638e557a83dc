"""The reference's helpers under the reference's names.

Read `input_setup` first: it makes patches of each image by `imread`, `preprocess` and `patch_file.extract_patches`, and
writes them by `make_data`. `prepare_data` lists images. Testing uses `imread`, `preprocess`, `modcrop` and `imsave`;
TensorBoard's picture of the filters uses `merge`. Arrays are `(rows, cols)` or `(rows, cols, channels)`. Nothing here
needs TensorFlow.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.degradation import degrade, jpeg, random_compression
from srcnn_tf.errors import RunError
from srcnn_tf.images.color import Floats, to_channels, to_luma, to_three_channels
from srcnn_tf.images.read import is_image_file, read_image
from srcnn_tf.images.value_range import Setting
from srcnn_tf.patch_file import (
    CHUNK,
    check_disk_space,
    describe_source,
    extract_patches,
    is_up_to_date,
    open_data,
    train_file,
)
from srcnn_tf.spec import Compression
from srcnn_tf.system.files import TEMPORARY, DeferredErrorFile, atomic_write
from srcnn_tf.system.folders import find_files
from srcnn_tf.system.threads import cores, map_in_threads

PATCHES_PER_WRITE = 2048  # fewer make many slow calls of HDF5
LARGE_IMAGE = 2**29  # bytes of patches of one image; such images are prepared one after the other
MAX_PATCH_BYTES_IN_MEMORY = 256 * 2**20  # of a training file; one with more is read shard by shard. T91 has 134 MB


def prepare_data(directory: str | os.PathLike[str]) -> list[Path]:
    """Lists the image files below a folder, sorted by path: see `system.folders.find_files`.

    Raises:
        RunError: a folder may not be read.
    """
    found = find_files(directory, is_image_file)
    if found.problems:
        raise RunError(found.problems[0])
    return found.files


def imread(path: str | os.PathLike[str], value_range: Setting = None) -> NDArray[np.uint8 | np.float32]:
    """Reads an image as uint8 `(rows, cols)` grey or `(rows, cols, 3)` RGB (the reference's step 2).

    Measured data, which are grey of more than 8 bits or floats, are float32 in [0, 1], scaled by `value_range`.

    Raises:
        RunError: the file cannot be read, see `images.read.read_image`.
    """
    return read_image(path, value_range)


def imsave(image: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Writes a uint8 grey `(rows, cols)` or RGB `(rows, cols, 3)` image as a PNG file.

    Raises:
        RunError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        # Runs instead of any repetition are enough for photographs, and a sixth of the time.
        options = {"compress_level": 1, "compress_type": zlib.Z_RLE}
        temporary.write_bytes(iio.imwrite("<bytes>", image, plugin="pillow", extension=".png", **options))  # type: ignore[call-overload]


def modcrop(image: NDArray, scale: int = 3) -> NDArray:
    """Crops rows at the bottom and columns at the right to multiples of `scale`."""
    rows, cols = image.shape[:2]
    return image[: rows - rows % scale, : cols - cols % scale]


def preprocess(
    image: NDArray[np.uint8 | np.float32],
    config: Config,
    c_dim: int | None = None,
    grid_offset: tuple[int, int] = (0, 0),
    compression: Compression | None = None,
) -> tuple[Floats, Floats]:
    """Makes the network's input and its ground truth from an image (the reference's steps 2 to 4).

    Args:
        image: as `imread` returns it.
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
    scale, space = config.scale, config.network.color
    if min(image.shape[:2]) < scale:
        raise ValueError(f"{image.shape[0]} x {image.shape[1]} pixels are too few to be reduced {scale} times")
    image = modcrop(image, scale)
    rows, cols = image.shape[:2]
    if c_dim == 1:
        original = to_luma(image, space)
    else:
        original = to_channels(image, space)
        original = to_three_channels(original, space) if c_dim == 3 else original
    above, left = grid_offset
    padded = np.pad(original, ((above, -above % scale), (left, -left % scale), (0, 0)), mode="symmetric")
    compress = None
    if compression is not None:
        compress = partial(jpeg, compression=compression, space=space, is_luma=c_dim == 1 and image.ndim == 3)
    degraded = degrade(padded, scale, config.degradation, compress)
    return degraded[above : above + rows, left : left + cols], original


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
    path, source = train_file(config), describe_source(config, data_hash)
    if not is_up_to_date(path, source):
        with atomic_write(path) as temporary:
            for leftover in path.parent.glob(f"{TEMPORARY}*{path.suffix}"):  # of a killed run; it takes disk space
                leftover.unlink()
            largest, total = check_disk_space(path, paths, config)
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
    def extract(item: tuple[int, Path]) -> tuple[NDArray[np.uint8 | np.float32], Floats, Floats] | str:
        number, path = item
        compression = random_compression(config.degradation, np.random.default_rng(number))
        try:
            image = imread(path, config.value_range)
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
                chosen = slice(*np.searchsorted(indices, (begin, begin + CHUNK)))
                array[chosen] = dataset[begin : begin + CHUNK][indices[chosen] - begin]
            arrays.append(array)
        return arrays[0], arrays[1]
