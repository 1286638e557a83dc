"""The training pairs in memory: which are learned from, and which pictures are kept to measure on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srcnn_tf import utils
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.errors import RunError

FEWEST_TO_HOLD_OUT = 20  # pictures; of fewer, each is needed to learn from


@dataclass(frozen=True)
class Pairs:
    """What is learned from, in memory, and the pictures to measure on."""

    data: NDArray[np.float32]  # (n, image_size, image_size, c_dim)
    label: NDArray[np.float32]  # (n, label_size, label_size, c_dim)
    used: NDArray[np.int64]  # which of the n are learned from
    held_out: list[Path]
    pictures: list[Path]


def load_pairs(config: Config, pictures: list[Path], data_hash: str) -> Pairs:
    """Makes the training file where it is not there yet, and reads it.

    Args:
        pictures: those below `config.train_dir`, sorted.
        data_hash: their `utils.fingerprint`.

    Raises:
        RunError: no picture can be used, the file cannot be written or read, or there are too few pairs.
    """
    print(f"Preparing {len(pictures)} pictures below {config.train_dir}.", flush=True)
    for warning in utils.input_setup(config, pictures, data_hash):
        print(f"Warning: {warning}")
    data, label, counts = utils.read_data(utils.train_file(config))
    usable = np.flatnonzero(counts)
    held_out = _held_out(config, usable)
    used = np.flatnonzero(~np.isin(np.repeat(np.arange(len(pictures)), counts), held_out))
    if RECIPES[config.recipe].strict_batch and len(used) < config.batch_size:
        raise RunError(
            f"{len(used)} sub-images of {len(usable)} pictures below {config.train_dir} do not fill one batch of "
            f"{config.batch_size}: give more pictures, a smaller --batch_size, or a smaller --stride."
        )
    print(f"{len(used)} sub-images of {len(usable) - len(held_out)} pictures; {len(held_out)} pictures held out.")
    return Pairs(data, label, used, [pictures[number] for number in held_out], [pictures[number] for number in usable])


def _held_out(config: Config, usable: NDArray[np.int64]) -> NDArray[np.int64]:
    """Chooses pictures spread evenly over the list, the same for every seed."""
    if len(usable) < FEWEST_TO_HOLD_OUT or config.validation_split == 0:
        return usable[:0]
    count = min(max(1, round(len(usable) * config.validation_split)), len(usable) - 1)
    return usable[((np.arange(count) + 0.5) * len(usable) / count).astype(np.int64)]
