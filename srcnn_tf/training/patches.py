"""The training pairs: which are learned from, in which order and phase, and which pictures are kept to measure on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srcnn_tf import utils
from srcnn_tf.background import in_threads
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.pictures import read_image

FEWEST_TO_HOLD_OUT = 20  # pictures; of fewer, each is needed to learn from
IN_MEMORY = 256 * 2**20  # bytes of pairs that stay in memory as a whole; T91 has 134 MB
WINDOW = 32 * 2**20  # bytes of those that are trained on at a time, of more; two or three windows are in memory
PHASES = 1  # which of a seed's and an epoch's sequences of random numbers the phases are from


@dataclass(frozen=True)
class Window:
    """Some pairs in memory, and the batches to take from them."""

    data: Any  # (n, image_size, image_size, c_dim) float32, as `Pairs.place` leaves it
    label: Any  # (n, label_size, label_size, c_dim), likewise
    batches: NDArray[np.int64]  # (steps, batch_size) places in them


class Pairs:
    """The pairs of a training file.

    Few of them are kept in memory; where the recipe says so, each epoch after the first has them of other phases, made
    while the one before is trained on. Many are read a window of batches at a time, the next one while this one is
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
        counts: NDArray[np.int64],
        used: NDArray[np.int64],
        held_out: list[Path],
        pictures: list[Path],
        place: Callable[[Any], Any] = lambda array: array,
    ) -> None:
        """Takes what the attributes say.

        Args:
            config: what the file was made for.
            source: what it was made from, see `utils.train_source`.
            counts: how many pairs each of the pictures gave.
            used: see above.
            held_out: see above.
            pictures: see above.
            place: puts an array where it is trained on, a GPU's memory say.
        """
        self.used, self.held_out, self.pictures = used, held_out, pictures
        self.batch_size = min(config.batch_size, len(used))
        self.epoch_steps = len(used) // self.batch_size
        self._config, self._source, self._counts, self._place = config, source, counts, place
        self._file = utils.train_file(config)
        self._resident: Window | None = None
        self._ahead: Iterator[Window] | None = None
        self._in_memory = utils.pair_bytes(config) * int(counts.sum()) <= IN_MEMORY
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

    def windows(self, epoch: int, batches: NDArray[np.int64], begin: int = 0) -> Iterator[Window]:
        """Reads an epoch's pairs, from step `begin` on. After an epoch comes the next one.

        Raises:
            RunError: the file is damaged, gone, or another by now, or a picture is.
        """
        if self._in_memory:
            found = self._of_epoch(epoch)
            yield Window(found.data, found.label, batches[begin:])
            return
        size = self._window_steps
        starts = range(begin // size * size, self.epoch_steps, size)
        parts = (batches[max(begin, start) : start + size] for start in starts)
        yield from in_threads(self._read, parts, threads=1)

    def _of_epoch(self, epoch: int) -> Window:
        if RECIPES[self._config.recipe].grid_offsets:
            if self._ahead is None:
                self._ahead = in_threads(self._at_phases, range(epoch, self._config.epoch), threads=1)
            return next(self._ahead)
        if self._resident is None:
            self._resident = self._read(None)
        return self._resident

    @cached_property
    def _images(self) -> list[NDArray[np.uint8]]:
        return [read_image(path) for path in self.pictures]

    def _at_phases(self, epoch: int) -> Window:
        """All pairs: the file's in the first epoch, then those of phases drawn for the epoch and each picture."""
        if epoch == 0:
            return self._read(None)
        config = self._config
        rng = np.random.default_rng([config.seed, epoch, PHASES])
        phases = rng.integers(config.scale, size=(len(self.pictures), 2)).tolist()
        ends = np.cumsum(self._counts)
        data, label = (
            np.empty((ends[-1], side, side, config.c_dim), np.float32)
            for side in (config.image_size, config.label_size)
        )
        for number, (end, count) in enumerate(zip(ends, self._counts, strict=True)):
            here = slice(end - count, end)
            try:
                data[here], label[here] = utils.cut_pairs(self._images[number], config, tuple(phases[number]))
            except ValueError as error:
                raise RunError(
                    f"{self.pictures[number]}: it is of another size than when training began; begin anew."
                ) from error
        return Window(self._place(data), self._place(label), np.empty(0, np.int64))

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
    if RECIPES[config.recipe].require_full_batch and len(used) < config.batch_size:
        raise RunError(
            f"{len(used)} sub-images of {len(usable)} pictures below {config.train_dir} do not fill one batch of "
            f"{config.batch_size}: give more pictures, a smaller --batch_size, or a smaller --stride."
        )
    print(f"{len(used)} sub-images of {len(usable) - len(held_out)} pictures; {len(held_out)} pictures held out.")
    kept, all_usable = ([pictures[number] for number in numbers] for numbers in (held_out, usable))
    return Pairs(config, source, counts[usable], used, kept, all_usable, place)


def _held_out(config: Config, usable: NDArray[np.int64]) -> NDArray[np.int64]:
    """Chooses pictures spread evenly over the list, the same for every seed."""
    if len(usable) < FEWEST_TO_HOLD_OUT or config.validation_split == 0:
        return usable[:0]
    count = min(max(1, round(len(usable) * config.validation_split)), len(usable) - 1)
    return usable[((np.arange(count) + 0.5) * len(usable) / count).astype(np.int64)]
