"""Selects, orders and augments training patches, and sets validation images aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srcnn_tf import degradation, patch_file, utils
from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import is_validation_sample
from srcnn_tf.errors import RunError
from srcnn_tf.images.value_range import Setting
from srcnn_tf.spec import JPEG_QUALITIES
from srcnn_tf.system.devices import to_device
from srcnn_tf.system.threads import map_in_threads
from srcnn_tf.training.recipes import Recipe

MIN_IMAGES_TO_SPLIT = 20  # of fewer images, each is needed for training
MAX_VALIDATION_IMAGES = 100  # their mean PSNR is certain to some hundredths of a decibel; more take time in each epoch
SHARD_BYTES = 32 * 2**20  # bytes of patches read at a time if they do not fit in memory; up to three shards are held
AUGMENTATION_STREAM = 1  # beside a seed and epoch: seeds the grid offsets and the compression of each image


@dataclass(frozen=True)
class TrainingSet:
    """The patches of a training file, and what each is used for.

    Attributes:
        file: the training file.
        counts: number of patches of each usable image.
        indices: the patches used for training, ascending.
        images: the usable images, see `utils.imread`; empty if the patches do not fit in memory.
        paths: the files of the usable images.
        validation: numbers of the images set aside for validation, in `paths`.
        batch_size: patches per batch: the configuration's, or all patches if they are fewer.
        value_range: how measured data are scaled.
    """

    file: Path
    counts: NDArray[np.int64]
    indices: NDArray[np.int64]
    images: list[NDArray[np.uint8 | np.float32]]
    paths: list[Path]
    validation: list[int]
    batch_size: int
    value_range: Setting = None

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches; the rest of the patches is left out of the epoch."""
        return len(self.indices) // self.batch_size

    @property
    def in_memory(self) -> bool:
        """Whether all patches are held in memory."""
        return bool(self.images)

    def image(self, number: int) -> NDArray[np.uint8 | np.float32]:
        """Returns a usable image, from its file if it is not held in memory."""
        return self.images[number] if self.images else utils.imread(self.paths[number], self.value_range)


@dataclass(frozen=True)
class Shard:
    """Patches on the device, and batches of them: an epoch's, or consecutive ones of an epoch.

    Attributes:
        data: `(n, image_size, image_size, c_dim)` float32.
        label: `(n, label_size, label_size, c_dim)` float32.
        batches: `(steps, patches)` indices of this worker's share of each batch.
    """

    data: Any
    label: Any
    batches: NDArray[np.int64]


def load_training_set(config: Config, recipe: Recipe, paths: list[Path], data_hash: str) -> TrainingSet:
    """Writes the training file if it is not up to date, and splits its images into training and validation.

    Args:
        config: gives sizes, degradation, batch size and validation split.
        recipe: says whether a smaller batch is an error.
        paths: the images below `config.train_dir`.
        data_hash: their `images.read.fingerprint`.

    Raises:
        RunError: no image can be used, the training file cannot be written or read, or there are too few patches.
    """
    print(f"Preparing {len(paths)} images below {config.train_dir}.", flush=True)
    for warning in utils.input_setup(config, paths, data_hash):
        print(f"Warning: {warning}")
    file = patch_file.train_file(config)
    with patch_file.open_data(file) as data:
        counts = data["patches_per_image"][()]
        usable = np.flatnonzero(counts)
        images = [data[f"images/{number}"][()] for number in usable] if "images" in data else []
    counts, usable_paths = counts[usable], [paths[number] for number in usable]
    validation = validation_images(usable_paths, config.validation_split)
    indices = np.flatnonzero(~np.isin(np.repeat(np.arange(len(counts)), counts), validation))
    if recipe.require_full_batch and len(indices) < config.batch_size:
        raise RunError(
            f"{len(indices)} patches of {len(counts)} images below {config.train_dir} do not fill one batch of "
            f"{config.batch_size}: give more images, a smaller --batch_size, or a smaller --stride."
        )
    print(f"{len(indices)} patches of {len(counts) - len(validation)} images; {len(validation)} for validation.")
    if config.validation_split and not validation:
        expected = f"{MIN_IMAGES_TO_SPLIT} images or more, and there are {len(counts)}"
        print(f"No validation: --validation_split needs {expected}.")
    batch_size = min(config.batch_size, len(indices))
    return TrainingSet(file, counts, indices, images, usable_paths, validation, batch_size, config.value_range)


def validation_images(paths: list[Path], split: float) -> list[int]:
    """Chooses images spread evenly over the list, the same for every seed; of the samples, one that is suited."""
    if split == 0:
        return []
    if len(paths) < MIN_IMAGES_TO_SPLIT:
        samples = [number for number, path in enumerate(paths) if is_validation_sample(path)]
        return samples[:1] if len(paths) > 1 else []  # something must be left to train on
    count = min(max(1, round(len(paths) * split)), len(paths) - 1, MAX_VALIDATION_IMAGES)
    return ((np.arange(count) + 0.5) * len(paths) / count).astype(np.int64).tolist()


def epoch_batches(training_set: TrainingSet, config: Config, recipe: Recipe, epoch: int) -> NDArray[np.int64]:
    """Returns the batches of an epoch, a pure function of seed and epoch: in the file's order, or shuffled.

    Patches in memory are shuffled fully. Otherwise the file's HDF5 chunks are shuffled, and then the patches of each
    shard, so that a shard reads whole chunks from all over the file.

    Returns:
        `(steps_per_epoch, batch_size)` indices into the training file.
    """
    order, batch_size = training_set.indices, training_set.batch_size
    if recipe.shuffle != "never":
        rng = np.random.default_rng([config.seed, epoch if recipe.shuffle == "each epoch" else 0])
        if training_set.in_memory:
            order = rng.permutation(order)
        else:
            chunks = rng.permutation(order[-1] // patch_file.CHUNK + 1)
            order = order[np.argsort(chunks[order // patch_file.CHUNK], kind="stable")]
            shard = _shard_steps(training_set, config) * batch_size
            for begin in range(0, len(order), shard):
                rng.shuffle(order[begin : begin + shard])
    steps = training_set.steps_per_epoch
    return order[: steps * batch_size].reshape(steps, batch_size)


def epoch_patches(
    training_set: TrainingSet, config: Config, recipe: Recipe, epoch: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns all patches of an epoch, a pure function of seed and epoch.

    They are the training file's in the first epoch. From the second one on, in recipes with grid offsets, each image is
    degraded with another random one, and under `jpeg` or `jpeg90` with another compression. The labels stay the same.

    Returns:
        `(n, image_size, image_size, c_dim)` data and `(n, label_size, label_size, c_dim)` labels, float32.
    """
    if epoch == 0 or not _changes(config, recipe):
        return utils.read_data(training_set.file)
    images = training_set.images
    rng = np.random.default_rng([config.seed, epoch, AUGMENTATION_STREAM])
    offsets = rng.integers(config.scale if recipe.grid_offsets else 1, size=(len(images), 2)).tolist()
    compressions = [degradation.random_compression(config.degradation, rng) for _ in images]
    ends = np.cumsum(training_set.counts)
    data, label = (
        np.empty((ends[-1], side, side, config.c_dim), np.float32) for side in (config.image_size, config.label_size)
    )
    drawn = zip(images, offsets, compressions, training_set.counts, ends, strict=True)
    for image, (row, col), compression, count, end in drawn:
        degraded, original = utils.preprocess(image, config, config.c_dim, (row, col), compression)
        data[end - count : end], label[end - count : end] = patch_file.extract_patches(degraded, original, config)
    return data, label


def _changes(config: Config, recipe: Recipe) -> bool:
    """Says whether images are degraded in another way in each epoch."""
    return recipe.grid_offsets or config.degradation in JPEG_QUALITIES


def shards(
    training_set: TrainingSet, config: Config, recipe: Recipe, first_step: int, share: slice = slice(None)
) -> Iterator[Shard]:
    """Yields the patches and batches of all steps from `first_step` on, epoch after epoch.

    While one shard is trained on, a thread loads the next one. Patches in memory give one shard per epoch.

    Args:
        training_set: the patches.
        config: gives the seed, the number of epochs and the sizes.
        recipe: says how patches are ordered and augmented.
        first_step: steps that are done.
        share: which patches of each batch are wanted; the batches are of these alone.

    Raises:
        RunError: the training file is damaged or gone.
    """
    first_epoch, first = divmod(first_step, training_set.steps_per_epoch)
    size = training_set.steps_per_epoch if training_set.in_memory else _shard_steps(training_set, config)

    def requests() -> Iterator[tuple[int, NDArray[np.int64]]]:
        for epoch in range(first_epoch, config.epoch):
            batches = epoch_batches(training_set, config, recipe, epoch)[:, share]
            begin = first if epoch == first_epoch else 0
            while begin < len(batches):
                end = begin // size * size + size
                yield epoch, batches[begin:end]
                begin = end

    @lru_cache(maxsize=1)
    def whole_epoch(epoch: int) -> tuple[Any, Any]:
        data, label = epoch_patches(training_set, config, recipe, epoch)
        return to_device(data), to_device(label)

    def load(request: tuple[int, NDArray[np.int64]]) -> Shard:
        epoch, batches = request
        if training_set.in_memory:
            return Shard(*whole_epoch(epoch if _changes(config, recipe) else 0), batches)
        indices = np.sort(batches, axis=None)
        data, label = utils.read_data(training_set.file, indices)
        return Shard(to_device(data), to_device(label), np.searchsorted(indices, batches))

    yield from map_in_threads(load, requests(), threads=1)


def _shard_steps(training_set: TrainingSet, config: Config) -> int:
    return max(1, SHARD_BYTES // (patch_file.patch_bytes(config) * training_set.batch_size))
