"""The training pairs: which are learned from, in which order, and which pictures are kept to measure on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srcnn_tf import utils
from srcnn_tf.background import in_threads
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.errors import RunError

FEWEST_TO_HOLD_OUT = 20  # pictures; of fewer, each is needed to learn from
IN_MEMORY = 256 * 2**20  # bytes of pairs that stay in memory as a whole; T91 has 134 MB
WINDOW = 32 * 2**20  # bytes of those that are trained on at a time, of more; two or three windows are in memory


@dataclass(frozen=True)
class Window:
    """Some pairs in memory, and the batches to take from them."""

    data: Any  # (n, image_size, image_size, c_dim) float32, as `Pairs.place` leaves it
    label: Any  # (n, label_size, label_size, c_dim), likewise
    batches: NDArray[np.int64]  # (steps, batch_size) places in them


class Pairs:
    """The pairs of a training file.

    Few of them are kept in memory. Many are read a window of batches at a time, the next one while this one is
    trained on.

    Attributes:
        used: which of the file's pairs are learned from, ascending.
        held_out: pictures to measure on.
        pictures: all pictures that can be used.
        batch_size: pairs in a batch: the configuration's, or all there are if they are fewer.
        epoch_steps: whole batches in an epoch.
    """

    def __init__(
        self,
        config: Config,
        source: str,
        total: int,
        used: NDArray[np.int64],
        held_out: list[Path],
        pictures: list[Path],
        place: Callable[[Any], Any] = lambda array: array,
    ) -> None:
        """Takes what the attributes say.

        Args:
            config: what the file was made for.
            source: what it was made from, see `utils.train_source`.
            total: how many pairs it has.
            used: see above.
            held_out: see above.
            pictures: see above.
            place: puts an array where it is trained on, a GPU's memory say.
        """
        self.used, self.held_out, self.pictures = used, held_out, pictures
        self.batch_size = min(config.batch_size, len(used))
        self.epoch_steps = len(used) // self.batch_size
        self._file, self._source, self._place = utils.train_file(config), source, place
        self._resident: Window | None = None
        self._in_memory = utils.pair_bytes(config) * total <= IN_MEMORY
        self._window_steps = max(1, WINDOW // (utils.pair_bytes(config) * self.batch_size))

    def batches(self, rng: np.random.Generator | None) -> NDArray[np.int64]:
        """The batches of an epoch, in the file's order, or shuffled with `rng`.

        Pairs in memory are shuffled fully. Else the file's chunks are, and then the pairs of each window, so that a
        window reads whole chunks, from all over the file.

        Returns:
            `(epoch_steps, batch_size)` places in the file; what does not fill a batch is left out.
        """
        order, window = self.used, self._window_steps * self.batch_size
        if rng is not None and self._in_memory:
            order = rng.permutation(order)
        elif rng is not None:
            turn = rng.permutation(order[-1] // utils.CHUNK + 1)
            order = order[np.argsort(turn[order // utils.CHUNK], kind="stable")]
            for begin in range(0, len(order), window):
                rng.shuffle(order[begin : begin + window])
        return order[: self.epoch_steps * self.batch_size].reshape(self.epoch_steps, self.batch_size)

    def windows(self, batches: NDArray[np.int64], begin: int = 0) -> Iterator[Window]:
        """Reads an epoch's pairs, from step `begin` on.

        Raises:
            RunError: the file is damaged, gone, or another by now.
        """
        if self._in_memory:
            if self._resident is None:
                self._resident = self._read(None)
            yield Window(self._resident.data, self._resident.label, batches[begin:])
            return
        size = self._window_steps
        starts = range(begin // size * size, self.epoch_steps, size)
        parts = (batches[max(begin, start) : start + size] for start in starts)
        yield from in_threads(self._read, parts, threads=1)

    def _read(self, batches: NDArray[np.int64] | None) -> Window:
        places = None if batches is None else np.sort(batches, axis=None)
        data, label = (self._place(array) for array in utils.read_data(self._file, places, self._source))
        return Window(data, label, np.empty(0, np.int64) if batches is None else np.searchsorted(places, batches))


def load_pairs(
    config: Config, pictures: list[Path], data_hash: str, place: Callable[[Any], Any] = lambda array: array
) -> Pairs:
    """Makes the training file where it is not there yet, and chooses what is learned from.

    Args:
        config: what to make.
        pictures: those below `config.train_dir`, sorted.
        data_hash: their `pictures.fingerprint`.
        place: see `Pairs`.

    Raises:
        RunError: no picture can be used, the file cannot be written or read, or there are too few pairs.
    """
    print(f"Preparing {len(pictures)} pictures below {config.train_dir}.", flush=True)
    for warning in utils.input_setup(config, pictures, data_hash):
        print(f"Warning: {warning}")
    source = utils.train_source(config, data_hash)
    counts = utils.read_counts(utils.train_file(config), source)
    usable = np.flatnonzero(counts)
    held_out = _held_out(config, usable)
    used = np.flatnonzero(~np.isin(np.repeat(np.arange(len(pictures)), counts), held_out))
    if RECIPES[config.recipe].strict_batch and len(used) < config.batch_size:
        raise RunError(
            f"{len(used)} sub-images of {len(usable)} pictures below {config.train_dir} do not fill one batch of "
            f"{config.batch_size}: give more pictures, a smaller --batch_size, or a smaller --stride."
        )
    print(f"{len(used)} sub-images of {len(usable) - len(held_out)} pictures; {len(held_out)} pictures held out.")
    kept, all_usable = ([pictures[number] for number in numbers] for numbers in (held_out, usable))
    return Pairs(config, source, int(counts.sum()), used, kept, all_usable, place)


def _held_out(config: Config, usable: NDArray[np.int64]) -> NDArray[np.int64]:
    """Chooses pictures spread evenly over the list, the same for every seed."""
    if len(usable) < FEWEST_TO_HOLD_OUT or config.validation_split == 0:
        return usable[:0]
    count = min(max(1, round(len(usable) * config.validation_split)), len(usable) - 1)
    return usable[((np.arange(count) + 0.5) * len(usable) / count).astype(np.int64)]
