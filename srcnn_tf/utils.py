"""Pictures to training pairs and back: the reference's helpers under the reference's names.

Arrays are `(rows, cols)` or `(rows, cols, channels)`. Nothing here needs TensorFlow.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import h5py
import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray

from srcnn_tf.background import cores, in_threads
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import DeferredErrorFile, atomic_write
from srcnn_tf.images.color import Floats, in_colour, to_channels, to_luma
from srcnn_tf.images.pictures import ENDINGS, declared_size, read_image
from srcnn_tf.images.resize import imresize, zoom

FORMAT = 2  # of train.h5: another number when other values are written for the same pictures
CHUNK = 64  # pairs in one HDF5 chunk of train.h5: 0.3 MB of 33 x 33 float32
AHEAD = 2**30  # bytes of pairs that are made side by side, at most, but for those of one picture
PNG_LEVEL = 2  # 3.5 times as fast as Pillow's own 6, for files of 8 % more bytes (the tests of Set14)
AT_ONCE = 2048  # pairs that a thread makes, and HDF5 gets, at once: each time costs many Python calls


# --- pictures in files ----------------------------------------------------------------------------


def prepare_data(directory: str | os.PathLike[str], endings: Collection[str] = ENDINGS) -> list[Path]:
    """Lists the pictures below a folder, by these endings of their names, sorted by path.

    Subfolders are searched, links to folders too (each folder once, so a link that loops ends). Hidden files
    and folders are passed over. A folder that does not exist has no pictures.

    Raises:
        PermissionError: a folder may not be read.
    """

    def complain(error: OSError) -> None:
        if isinstance(error, PermissionError):
            raise error

    found: list[Path] = []
    visited: set[str] = set()
    for folder, subfolders, names in os.walk(directory, onerror=complain, followlinks=True):
        subfolders[:] = [name for name in subfolders if name[0] != "."]
        real = os.path.realpath(folder)
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        found += [Path(folder, name) for name in names if Path(name).suffix.lower() in endings and name[0] != "."]
    return sorted(found)


def imread(path: str | os.PathLike[str], is_grayscale: bool = True) -> Floats:
    """Reads the full-range luma of a picture, or its YCbCr channels (the reference's step 2).

    Returns:
        float64 in 0..255: `(rows, cols)` luma, or `(rows, cols, 3)` Y, Cb, Cr if not `is_grayscale`.

    Raises:
        RunError: see `read_image`.
    """
    image = read_image(path)
    return 255 * (to_luma(image)[..., 0] if is_grayscale else in_colour(to_channels(image)))


def imsave(image: NDArray[np.uint8], path: str | os.PathLike[str]) -> None:
    """Writes a uint8 grey `(rows, cols)` or RGB `(rows, cols, 3)` picture in the format of the name's ending.

    Raises:
        RunError: see `atomic_write`.
    """
    encoded = iio.imwrite("<bytes>", image, plugin="pillow", extension=Path(path).suffix, compress_level=PNG_LEVEL)
    with atomic_write(path) as temporary:
        temporary.write_bytes(encoded)


# --- degrading and cutting ------------------------------------------------------------------------


def modcrop(image: NDArray, scale: int = 3) -> NDArray:
    """Cuts rows at the bottom and columns at the right until both counts are multiples of `scale`."""
    rows, cols = image.shape[:2]
    return image[: rows - rows % scale, : cols - cols % scale]


def degrade(label: Floats, scale: int = 3, degradation: str = "scipy") -> Floats:
    """Takes detail from a picture by making it smaller and larger again.

    `scipy` zooms down and up as SciPy does (the reference's step 4): cubic splines without the prefilter, so both zooms
    smooth. At some sizes (150 pixels at scale 3, say) rounding puts samples a hair outside the picture, and the
    reference's last rows or columns turn black or dark; mirrored, they do not. Everywhere else the two are equal.

    `matlab` is the paper's: bicubic as MATLAB's `imresize` does it, not rounded in between.

    Args:
        label: `(rows, cols)` or `(rows, cols, channels)`, rows and cols multiples of `scale`.
        scale: how many times smaller.
        degradation: one of `config.DEGRADATIONS`.

    Returns:
        An array of the same shape and dtype.
    """
    resize = zoom if degradation == "scipy" else imresize
    return resize(resize(label, 1 / scale), scale)


def degraded_pair(
    image: NDArray[np.uint8], scale: int = 3, degradation: str = "scipy", color_space: str = "ycbcr"
) -> tuple[Floats, Floats]:
    """Makes what the network is given of a picture, and the truth it is measured by (the reference's steps 2 to 4).

    Args:
        image: uint8 `(rows, cols)` grey or `(rows, cols, 3)` RGB.
        scale: how many times smaller it is made.
        degradation: one of `config.DEGRADATIONS`; luma and chroma are in the studio range under `matlab`.
        color_space: one of `config.COLOR_SPACES`.

    Returns:
        degraded and original channels (see `to_channels`), both `(rows, cols, 1 or 3)` and modcropped.

    Raises:
        ValueError: the picture is smaller than `scale`.
    """
    return _degraded(to_channels(image, degradation == "matlab", color_space == "rgb"), scale, degradation)


def _degraded(channels: Floats, scale: int, degradation: str, phase: tuple[int, int] = (0, 0)) -> tuple[Floats, Floats]:
    original = modcrop(channels, scale)
    if original.size == 0:
        raise ValueError(f"{channels.shape[0]} x {channels.shape[1]} pixels are too few to be reduced {scale} times")
    rows, cols = original.shape[:2]
    above, left = phase
    whole = np.pad(original, ((above, -above % scale), (left, -left % scale), (0, 0)), mode="symmetric")
    return degrade(whole, scale, degradation)[above : above + rows, left : left + cols], original


def preprocess(
    path: str | os.PathLike[str],
    scale: int = 3,
    is_grayscale: bool = True,
    degradation: str = "scipy",
    color_space: str = "ycbcr",
) -> tuple[Floats, Floats]:
    """Reads a picture and makes the pair to learn from: degraded and original (the reference's steps 2 to 4).

    Returns:
        Two float64 arrays of one shape, in [0, 1]: `(rows, cols)` luma, or `(rows, cols, 3)` in the colour space.

    Raises:
        RunError: the picture cannot be read, or is smaller than `scale`.
    """
    try:
        pair = _degraded(_learned(read_image(path), is_grayscale, degradation, color_space), scale, degradation)
    except ValueError as error:
        raise RunError(f"{path}: {error}.") from error
    degraded, original = (channels[..., 0] if is_grayscale else channels for channels in pair)
    return degraded, original


def _learned(image: NDArray[np.uint8], is_grayscale: bool, degradation: str, color_space: str) -> Floats:
    """The channels of a picture that a network of as many learns from."""
    studio, rgb = degradation == "matlab", color_space == "rgb"
    return to_luma(image, studio) if is_grayscale else in_colour(to_channels(image, studio, rgb), rgb)


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
        float32 `(n, image_size, image_size, c_dim)` degraded and `(n, label_size, label_size, c_dim)` original, row
        by row.

    Raises:
        RunError: the picture cannot be read, or is smaller than one sub-image.
    """
    try:
        return cut_pairs(read_image(path), config)
    except ValueError as error:
        raise RunError(f"{path}: {error}.") from error


def cut_pairs(image: NDArray[np.uint8], config: Config, phase: tuple[int, int] = (0, 0)) -> tuple[Floats, Floats]:
    """Makes the sub-images of one picture in memory.

    A pixel of the small picture stands for `scale` x `scale` of the large one: which ones, is the phase. Another phase
    gives as many pairs, of the same labels, but other data.

    Args:
        image: uint8 `(rows, cols)` grey or `(rows, cols, 3)` RGB.
        config: what to cut.
        phase: rows and columns, below `config.scale`, from the first sample's place to the picture's first pixel; the
            picture is mirrored at its sides for that.

    Returns:
        See `training_pairs`.

    Raises:
        ValueError: the picture is smaller than one sub-image.
    """
    channels = _learned(image, config.c_dim == 1, config.degradation, config.color_space)
    pair = _degraded(channels, config.scale, config.degradation, phase)
    # Before they are cut: sub-images overlap, and are several times as many numbers.
    degraded, original = (values.astype(np.float32) for values in pair)
    rows, cols = original.shape[:2]
    margin = config.border // 2
    data = sub_images(degraded, config.image_size, config.stride)
    if not len(data):
        raise ValueError(
            f"{rows} x {cols} pixels are smaller than one sub-image of {config.image_size} x {config.image_size}; "
            "nothing can be learned from it"
        )
    return data, sub_images(original[margin : rows - margin, margin : cols - margin], config.label_size, config.stride)


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


def input_setup(config: Config, paths: Sequence[Path], data_hash: str) -> list[str]:
    """Makes `checkpoint_dir`/train.h5 from every picture, unless the file there was made from just these.

    Args:
        paths: the pictures, below `config.train_dir`.
        data_hash: their `pictures.fingerprint`.

    Returns:
        A line for each picture that could not be used; none where the file was up to date and complete.

    Raises:
        RunError: no picture could be used, or there is no room for the file, or it cannot be written.
    """
    path, source = train_file(config), train_source(config, data_hash)
    if (complaints := _complaints(path, source)) is None:
        complaints = []
        with atomic_write(path) as temporary:
            temporary.unlink(missing_ok=True)  # a killed run's, which takes room
            counts = [_count_pairs(declared_size(picture), config) for picture in paths]
            _check_space(path, counts, config)
            # A large picture's pairs take gigabytes: then fewer are made side by side.
            threads = AHEAD // (max(AT_ONCE, max(counts)) * pair_bytes(config))
            groups = _in_groups(paths, counts)
            _write_pairs(temporary, config, groups, source, complaints, max(1, min(threads, cores())))
    return complaints


def train_file(config: Config) -> Path:
    """Where the training pairs are kept."""
    return Path(config.checkpoint_dir, "train.h5")


def train_source(config: Config, data_hash: str) -> str:
    """What a training file says that it was made from: pictures by their `pictures.fingerprint`, sizes, degradation."""
    fields = ("image_size", "label_size", "stride", "scale", "c_dim", "color_space", "degradation")
    return json.dumps({"format": FORMAT, "data": data_hash} | {name: getattr(config, name) for name in fields})


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


def _check_space(path: Path, counts: Sequence[int], config: Config) -> None:
    """Whether the pairs fit on the disk, by the sizes that the pictures declare."""
    needed = sum(counts) * pair_bytes(config)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise RunError(
            f"{path}: the sub-images of {len(counts)} pictures take {needed / 1e9:.3g} GB, but only {free / 1e9:.3g} "
            "GB are free there. Free some, name another --checkpoint_dir, or give a larger --stride."
        )


def _count_pairs(size: tuple[int, int], config: Config) -> int:
    within = (side - side % config.scale - config.image_size for side in size)
    return math.prod(max(0, side // config.stride + 1) for side in within)


def pair_bytes(config: Config) -> int:
    """What one pair takes in memory and in train.h5, in bytes."""
    return 4 * config.c_dim * (config.image_size**2 + config.label_size**2)


def _write_pairs(
    path: Path, config: Config, groups: Sequence[Sequence[Path]], source: str, complaints: list[str], threads: int
) -> None:
    counts: list[int] = []
    with DeferredErrorFile(path) as disk, h5py.File(disk, "w") as file:
        # Decoding, products and copies let other threads run, so that threads are faster than processes, which would
        # have to be started and to send what they made through a pipe. HDF5 has one writer in any case.
        for found in in_threads(lambda group: _pairs_of_group(group, config), groups, threads):
            data, label, group_counts, group_complaints = found
            if len(data):
                make_data(file, data, label)
                disk.check()
            counts += group_counts
            complaints += group_complaints
        if not any(counts):
            raise RunError(
                f"None of the {len(counts)} pictures below {config.train_dir} can be trained on: "
                + " ".join(complaints[:3])
            )
        file["pairs_a_picture"] = counts
        file.create_dataset("complaints", data=complaints, dtype=h5py.string_dtype())
        file.attrs["source"] = source
        file.close()
        disk.check()


def _in_groups(paths: Iterable[Path], counts: Iterable[int]) -> list[list[Path]]:
    """Groups of pictures that give `AT_ONCE` pairs together, or a little more."""
    groups: list[list[Path]] = [[]]
    pairs = 0
    for path, count in zip(paths, counts, strict=True):
        groups[-1].append(path)
        pairs += count
        if pairs >= AT_ONCE:
            groups.append([])
            pairs = 0
    return [group for group in groups if group]


def _pairs_of_group(paths: Sequence[Path], config: Config) -> tuple[Floats, Floats, list[int], list[str]]:
    """The pairs of some pictures, how many each gave, and what is wrong with those that gave none."""
    found, counts, complaints = [], [], []
    for path in paths:
        try:
            found.append(training_pairs(path, config))
            counts.append(len(found[-1][0]))
        except RunError as error:
            counts.append(0)
            complaints.append(str(error))
    if not found:
        return np.empty(0), np.empty(0), counts, complaints
    data, label = found[0] if len(found) == 1 else map(np.concatenate, zip(*found, strict=True))
    return data, label, counts, complaints


def make_data(file: h5py.File, data: Floats, label: Floats) -> None:
    """Appends pairs to the datasets `data` and `label` of an open HDF5 file, as float32, with a checksum a chunk."""
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
    path: str | os.PathLike[str], places: NDArray[np.int64] | None = None, source: str | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Reads a training file, or a part of it.

    Args:
        path: the file.
        places: which pairs, ascending; all of them if None.
        source: what it has to be made from, see `train_source`; anything if None.

    Returns:
        `data (n, 33, 33, c)` and `label (n, 21, 21, c)` (for the default sizes), float32, values about [0, 1].

    Raises:
        RunError: the file is absent, damaged, or made from something else.
    """
    with _opened(path, source) as file:
        return _read(file["data"], places), _read(file["label"], places)


def read_counts(path: str | os.PathLike[str], source: str | None = None) -> NDArray[np.int64]:
    """How many pairs of a training file each picture gave, in the pictures' order.

    Raises:
        RunError: see `read_data`.
    """
    with _opened(path, source) as file:
        return file["pairs_a_picture"][()]


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str], source: str | None) -> Iterator[h5py.File]:
    try:
        with h5py.File(path, "r") as file:
            if source not in (None, file.attrs["source"]):
                raise RunError(
                    f"{path}: another run has made it anew, from other pictures or for other sizes, and this one had "
                    "not read all of it. Give each run a --checkpoint_dir of its own, and this command again."
                )
            yield file
    except (RunError, MemoryError):
        raise
    except Exception as error:  # a damaged file raises OSError, KeyError, ValueError and more
        raise RunError(f"{path}: cannot be read ({error}); delete it, and it is made again.") from error


def _read(dataset: h5py.Dataset, places: NDArray[np.int64] | None) -> NDArray[np.float32]:
    if places is None:
        return dataset[()]
    values = np.empty((len(places), *dataset.shape[1:]), dataset.dtype)
    for begin in np.unique(places // CHUNK) * CHUNK:
        here = slice(*np.searchsorted(places, (begin, begin + CHUNK)))
        values[here] = dataset[begin : begin + CHUNK][places[here] - begin]
    return values
