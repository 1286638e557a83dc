"""Compares ways to get into one pass what the self-ensemble gains: tied filters, a penalty, distillation.

    python -m benchmarks.experiments.symmetry --train_dir=Train/T91 --epoch=8 --seeds=0,1

Network 9-1-5, x3, `--degradation=matlab`, float32. Every tenth image is held out and scored. It prints PSNR in dB of
one pass and of the self-ensemble, averages over these images, as Markdown; the same command resumes a stopped run:

    | change | seed | one pass | self-ensemble |
    |---|---|---|---|
    | none | 0 | 33.668 | 33.744 |
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from benchmarks.common import parse_experiment, report_errors
from srcnn_tf import model, utils
from srcnn_tf.config import Config, Recipe
from srcnn_tf.devices import load_tensorflow
from srcnn_tf.errors import RunError
from srcnn_tf.images.metrics import score_channels
from srcnn_tf.inference.ensemble import ORIENTATIONS
from srcnn_tf.inference.tiling import TiledModel
from srcnn_tf.training import patches, step
from srcnn_tf.training.overparameterization import Overparameterization
from srcnn_tf.training.step import huber, random_flips
from srcnn_tf.training.train import train
from srcnn_tf.weights.store import find_model

Group = Sequence[tuple[int, int, bool]]  # some of the orientations, as `ensemble.ORIENTATIONS` describes them

EIGHT = ORIENTATIONS
FOUR = [orientation for orientation in EIGHT if not orientation[2]]
TWO = FOUR[:2]

# The symmetry of a free filter, by an example of 3 x 3 weights, where equal numbers are equal weights. One free filter
# gives as many filters as it has different orientations: of eight, these give 8, 4, 4 and 1.
ANY = np.arange(9).reshape(3, 3)
MIRRORED = np.array([[0, 1, 0], [2, 3, 2], [4, 5, 4]])
DIAGONAL = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
FULL = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]])


class Tying:
    """Which filters are orientations of each other and share their weights, so that the network is symmetric."""

    def __init__(self, group: Group, *layers: list[NDArray]) -> None:
        """Numbers the filters.

        Args:
            group: the orientations under which the network is symmetric.
            layers: the symmetries of the free filters of the first and of the second layer.
        """
        self.group = group
        self.filters = ",".join(str(len(_origins(free, group, group[0]))) for free in layers)
        self._passing = max(model.PASSING, len(_origins(layers[0][:1], group, group[0])))
        self._origins = [[_origins(free, group, orientation) for free in (*layers, [FULL])] for orientation in group]

    def tie(self, weights: list[Any]) -> list[tf.Tensor]:
        """Returns the nearest kernels and biases, in the model's order, that are symmetric."""
        sums = [tf.zeros_like(values) for values in weights]
        for (rows, cols, transposed), origins in zip(self.group, self._origins, strict=True):
            for layer, (inputs, outputs) in enumerate(zip(([0], *origins), origins, strict=False)):
                kernel = tf.gather(weights[2 * layer][::rows, ::cols], inputs, axis=2)
                kernel = tf.transpose(kernel, [1, 0, 2, 3]) if transposed else kernel
                sums[2 * layer] += tf.gather(kernel, outputs, axis=3)
                sums[2 * layer + 1] += tf.gather(weights[2 * layer + 1], outputs)
        return [total / len(self.group) for total in sums]

    def start_as_identity(self, weights: list[NDArray], _: int) -> list[NDArray]:
        """Makes symmetric weights from He's, as `model.start_as_identity` does.

        But whole orbits of filters pass the image on, up to eight, and all with the same gain.
        """
        first, first_bias, second, second_bias, last, last_bias = (np.array(values) for values in self.tie(weights))
        for kernel in (first, second):  # as large as He's
            kernel -= kernel.mean((0, 1, 2))
            kernel *= np.sqrt(2 / np.square(kernel).sum((0, 1, 2)))
        passing = self._passing
        first[..., :passing] *= 0.1  # not 0, or the filters of an orbit would stay equal
        second[..., :passing] *= 0.1
        second[:, :, :passing] = 0
        first[first.shape[0] // 2, first.shape[1] // 2, :, :passing] += 1
        second[second.shape[0] // 2, second.shape[1] // 2, :passing, :passing] = 1 / passing
        last[last.shape[0] // 2, last.shape[1] // 2, :passing] += 1 / passing
        return [first, first_bias, second, second_bias, last, last_bias]


def _origins(free: list[NDArray], group: Group, orientation: tuple[int, int, bool]) -> list[int]:
    """Returns, for each filter of a layer, the index of the filter that the orientation maps to it."""

    def orient(example: NDArray, rows: int, cols: int, transposed: bool) -> NDArray:
        example = example[::rows, ::cols]
        return example.T if transposed else example

    indices: list[int] = []
    for example in free:
        orbit = {filter_.tobytes(): filter_ for filter_ in (orient(example, *other) for other in group)}
        oriented = [orient(filter_, *orientation).tobytes() for filter_ in orbit.values()]
        indices += [len(indices) + oriented.index(filter_) for filter_ in orbit]
    return indices


class TiedOverparameterization(Overparameterization):
    """Trains the filters of a tying."""

    def __init__(self, *arguments: Any, tying: Tying) -> None:
        """Creates factors as in `Overparameterization`."""
        super().__init__(*arguments)
        self.tying = tying

    def products(self) -> list[tf.Tensor]:
        """Returns the model's tied weights."""
        return self.tying.tie(super().products())

    def collapse(self, model: Any) -> None:
        """Assigns the tied weights to the model's variables."""
        for variable, product_ in zip(model.trainable_variables, self.products(), strict=True):
            variable.assign(product_)


def paired_flips(data: tf.Tensor, label: tf.Tensor, *arguments: Any) -> list[tf.Tensor]:
    """Flips patches at random, and puts each one, turned by 90 degrees, after itself.

    That doubles the batch, and with it the loss, to whose size SOAP is indifferent.
    """
    pairs = []
    for images in random_flips(data, label, *arguments):
        both = tf.stack([images, tf.image.rot90(images)], axis=1)
        pairs.append(tf.reshape(both, [2 * images.shape[0], *images.shape[1:]]))
    return pairs


def penalized(error: tf.Tensor, limit: float, weight: float) -> tf.Tensor:
    """Returns the mean loss of pairs of patches, and a penalty on the difference that turning makes."""
    difference = error[::2] - tf.image.rot90(error[1::2], 3)
    return tf.reduce_mean(huber(error, limit)) + weight * tf.reduce_mean(huber(difference, limit))


def distilled_patches(
    training_set: patches.TrainingSet, config: Config, _: Recipe, epoch: int, teacher: TiledModel, share: float
) -> tuple[NDArray, NDArray]:
    """Returns an epoch's patches; of their labels, a share is what the teacher restores, the rest the original.

    Grid offsets are random from the first epoch on.
    """
    rng = np.random.default_rng([config.seed, epoch])
    pairs = []
    for image in training_set.images:
        row, col = rng.integers(config.scale, size=2).tolist()
        degraded, original = utils.preprocess(image, config, config.c_dim, (row, col))
        label = share * teacher(degraded) + (1 - share) * original
        pairs.append(utils.extract_patches(degraded, label, config))
    data, labels = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    return data, labels


def tied(tying: Tying) -> list[Any]:
    """Returns what makes training one of tied filters."""
    return [
        patch.object(step, "Overparameterization", partial(TiedOverparameterization, tying=tying)),
        patch.object(model, "start_as_identity", tying.start_as_identity),
    ]


def with_penalty(weight: float) -> list[Any]:
    """Returns what makes training one on pairs of patches, with a penalty."""
    return [
        patch.object(step, "random_flips", paired_flips),
        patch.object(step, "huber", partial(penalized, weight=weight)),
    ]


def distilled(teacher: TiledModel, share: float) -> list[Any]:
    """Returns what makes training one on a teacher's results."""
    return [patch.object(patches, "epoch_patches", partial(distilled_patches, teacher=teacher, share=share))]


TYINGS = {
    "filters shared by two mirror images": Tying(TWO, [ANY] * 32, [ANY] * 16),
    "filters shared by four flips": Tying(FOUR, [ANY] * 16, [ANY] * 8),
    "filters shared by eight orientations": Tying(EIGHT, [ANY] * 8, [ANY] * 4),
    # More free filters at the same cost: 10 and 2, or 24 and 12, instead of 8 and 4.
    "..., of 80,16 filters": Tying(EIGHT, [ANY] * 10, [ANY] * 2),
    "..., with filters that are symmetric themselves": Tying(
        EIGHT,
        [FULL] * 16 + [ANY] * 4 + [MIRRORED, DIAGONAL] * 2,
        [FULL] * 8 + [ANY] * 2 + [MIRRORED, DIAGONAL],
    ),
}


def train_variant(
    name: str, given: argparse.Namespace, seed: int, changes: Sequence[Any] = (), **flags: Any
) -> tuple[TiledModel, TiledModel]:
    """Trains a variant, or resumes it, and prints its row; returns the trained network, and its self-ensemble.

    Raises:
        RunError: there are fewer than 20 images, or see `train`.
    """
    folder = str(Path(given.scratch, f"{re.sub('[^0-9a-z]+', '_', name)}_seed{seed}"))
    defaults: dict[str, Any] = {"epoch": given.epoch, "degradation": "matlab", "validation_split": 0.1}
    folders = {"train_dir": given.train_dir, "checkpoint_dir": folder, "log_dir": folder}
    config = Config(**defaults | folders | flags, seed=seed)
    paths = utils.prepare_data(config.train_dir)
    held_out = patches.validation_images(paths, config.validation_split)
    if not held_out:
        raise RunError(f"{config.train_dir}: expected 20 images or more, as some are held out; found {len(paths)}.")
    with ExitStack() as stack:
        for change in changes:
            stack.enter_context(change)
        train(config)
    trained = find_model(config)[0]
    restore, ensemble = TiledModel(trained), TiledModel(trained, self_ensemble=True)
    pairs = [utils.preprocess(utils.imread(paths[number]), config) for number in held_out]
    scores = [
        [
            score_channels(network(degraded), original, config.scale, config.studio_range).psnr
            for degraded, original in pairs
        ]
        for network in (restore, ensemble)
    ]
    print("| {} | {} | {:.3f} | {:.3f} |".format(name, seed, *np.mean(scores, axis=1)), flush=True)
    return restore, ensemble


def main() -> None:
    """Trains the variants one after the other, and prints a row of each."""
    given = parse_experiment("symmetry", epoch=8)
    load_tensorflow()
    print("| change | seed | one pass | self-ensemble |\n|---|---|---|---|")
    larger: dict[str, Any] = {"architecture": "9-5-5", "filters": "128,64", "learning_rate": 3e-3}
    teacher, _ = train_variant("9-5-5 with 128,64 filters", given, 0, **larger)
    for seed in given.seeds:
        _, own_ensemble = train_variant("none", given, seed)
        for name, tying in TYINGS.items():
            train_variant(name, given, seed, tied(tying), filters=tying.filters)
        train_variant("each patch twice, turned by 90 degrees", given, seed, with_penalty(0))
        train_variant("..., penalty on the difference", given, seed, with_penalty(1))
        for share in (0.5, 1):
            train_variant(f"distilled from its self-ensemble, {share:.0%}", given, seed, distilled(own_ensemble, share))
        for share in (0.5, 1):
            train_variant(f"distilled from 9-5-5, {share:.0%}", given, seed, distilled(teacher, share))


if __name__ == "__main__":
    sys.exit(report_errors(main))
