"""Training: pictures to pairs, and a loop of our own around one compiled step function."""

from __future__ import annotations

import math
import platform
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import srcnn_tf
from srcnn_tf import board, checkpoint, datasets, utils
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.errors import Interrupted, RunError
from srcnn_tf.infer import Reconstructor, score
from srcnn_tf.metrics import SSIM_WINDOW
from srcnn_tf.optimizer import SOAP
from srcnn_tf.progress import EVERY, ProgressBar, ReferenceLines

SAVE_EVERY = 500  # steps from one checkpoint to the next, as in the reference
FEWEST_TO_HOLD_OUT = 20  # pictures; of fewer, each is needed to learn from
WARM_UP = 0.1  # of all steps, and one epoch at most
DECAY = 0.999  # of the average of weights, once it has seen enough of them
EXPLODED = 2.0  # times the best epoch's loss
RECOVERIES = 5  # times the rate may be halved before a training is given up


@dataclass(frozen=True)
class Pairs:
    """What is learned from, in memory, and the pictures to measure on."""

    data: NDArray[np.float32]  # (n, image_size, image_size, c_dim)
    label: NDArray[np.float32]  # (n, label_size, label_size, c_dim)
    used: NDArray[np.int64]  # which of the n are learned from
    held_out: list[Path]
    pictures: list[Path]


class State:
    """All that training changes, and that a checkpoint keeps."""

    def __init__(self, config: Config) -> None:
        recipe = RECIPES[config.recipe]
        self.model = checkpoint.build(config, recipe.initialization)
        # What is measured and published.
        self.published = checkpoint.build(config, recipe.initialization) if recipe.average else self.model
        if config.weights is not None:
            checkpoint.load_weights(self.model, Path(config.weights), config)
            self.published.set_weights(self.model.get_weights())
        rate = config.learning_rate
        self.optimizer = SOAP(rate) if recipe.optimizer == "soap" else keras.optimizers.SGD(rate)
        self.optimizer.build(self.model.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.best_loss = tf.Variable(math.inf, dtype=tf.float32, trainable=False)
        self.recoveries = tf.Variable(0, dtype=tf.int64, trainable=False)

    def learned(self) -> list[Any]:
        """The variables that an exploding loss spoils."""
        return [*self.model.variables, *self.published.variables, *self.optimizer.variables]


def train(config: Config, callbacks: Sequence[keras.callbacks.Callback] = ()) -> None:
    """Trains a network as `config` says, or goes on with a training that was stopped.

    Args:
        config: what to do.
        callbacks: Keras callbacks of one's own. They are told of each call of up to 10 steps as of one batch, whose
            number is the count of steps done.

    Raises:
        RunError: it could not be done; what was learned so far is kept in a checkpoint.
        Interrupted: the user stopped it; likewise.
    """
    pictures = datasets.find_pictures(config, "train_dir")
    data_hash = utils.fingerprint(pictures, config.train_dir)
    directory = checkpoint.run_directory(config)
    resuming = _is_resumed(config, directory, data_hash)
    state = State(config)
    pairs = _make_pairs(config, pictures, data_hash)
    if not resuming:
        checkpoint.clear(directory)
        board.clear(_log_directory(config))
    run = checkpoint.Checkpoints(directory, **vars(state))
    if resuming:
        run.restore()
    trainer = Trainer(config, pairs, state, run, data_hash)
    trainer.fit(callbacks)


def _is_resumed(config: Config, directory: Path, data_hash: str) -> bool:
    """Whether there is a run to go on with; one of another configuration is an error."""
    if not config.resume or checkpoint.latest(directory) is None:
        return False
    record = checkpoint.read_record(directory)
    now, then = config.identity, Config(**record["config"]).identity
    different = [f"--{name} was {then[name]}, now {now[name]}" for name in now if now[name] != then[name]]
    if record["data"]["sha256"] != data_hash:
        different.append(f"the training pictures were others ({record['data']['pictures']} below {record['config']['train_dir']})")
    if different:
        raise RunError(
            f"{directory} holds another run: {'; '.join(different)}. Give the same flags to go on with it, "
            "--resume=False to begin anew in its place, or another --checkpoint_dir."
        )
    return True


def _make_pairs(config: Config, pictures: list[Path], data_hash: str) -> Pairs:
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


def _log_directory(config: Config) -> Path:
    return Path(config.log_dir, config.run_name)


# --- one step -----------------------------------------------------------------------------------------


def make_step(state: State, average: bool) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Makes the function that learns from one batch; with `strategy.run` around it, it is one replica's part.

    Returns:
        A function of `(batch, image_size, image_size, c_dim)` and `(batch, label_size, label_size, c_dim)` that
        changes the state, and returns the mean squared error before the change.
    """
    model, variables = state.model, state.model.trainable_variables

    def step(data: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(label - model(data, training=True)))
        state.optimizer.apply(tape.gradient(loss, variables), variables)
        if average:
            # A short memory at first, or the random beginning would stay in the average.
            count = tf.cast(state.step, tf.float32)
            decay = tf.minimum(DECAY, (1 + count) / (10 + count))
            for mean, variable in zip(state.published.trainable_variables, variables, strict=True):
                mean.assign_add((1 - decay) * (variable - mean))
        state.step.assign_add(1)
        return loss

    return step


def compile_steps(state: State, pairs: Pairs, config: Config) -> Callable[[NDArray, NDArray], tf.Tensor]:
    """Compiles many steps in one call, over pairs that stay in the device's memory.

    Returns:
        A function of `(steps, batch)` int64 places in `pairs` and `(steps,)` float32 rates to the `(steps,)` losses.
    """
    recipe = RECIPES[config.recipe]
    all_data, all_label = tf.constant(pairs.data), tf.constant(pairs.label)
    step = make_step(state, recipe.average)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64), tf.TensorSpec([None], tf.float32)])
    def steps(places: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
        losses = tf.TensorArray(tf.float32, tf.shape(places)[0])
        for number in tf.range(tf.shape(places)[0]):
            data, label = tf.gather(all_data, places[number]), tf.gather(all_label, places[number])
            if recipe.shuffle:
                data, label = _flip(data, label, tf.stack([tf.constant(config.seed, tf.int64), state.step]))
            state.optimizer.learning_rate.assign(rates[number])
            losses = losses.write(number, step(data, label))
        return losses.stack()

    return steps


def _flip(data: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns each pair of a batch into one of its eight mirror images, both halves alike."""
    chosen = tf.random.stateless_uniform([3, tf.shape(data)[0], 1, 1, 1], seed) < 0.5
    turns = (
        lambda images: tf.reverse(images, [1]),
        lambda images: tf.reverse(images, [2]),
        lambda images: tf.transpose(images, [0, 2, 1, 3]),
    )
    for number, turn in enumerate(turns):
        data = tf.where(chosen[number], turn(data), data)
        label = tf.where(chosen[number], turn(label), label)
    return data, label


# --- the loop -----------------------------------------------------------------------------------------


class Trainer:
    """Runs the epochs: batches in, losses out, checkpoints, measurements, recovery, callbacks."""

    def __init__(
        self, config: Config, pairs: Pairs, state: State, run: checkpoint.Checkpoints, data_hash: str
    ) -> None:
        self._config, self._pairs, self._state, self._run = config, pairs, state, run
        self._recipe = RECIPES[config.recipe]
        self._batch_size = min(config.batch_size, len(pairs.used))
        self._epoch_steps = len(pairs.used) // self._batch_size
        self._all_steps = config.epoch * self._epoch_steps
        self._steps = compile_steps(state, pairs, config)
        self._reconstruct = Reconstructor(state.published)
        self._data = {"sha256": data_hash, "pictures": len(pairs.pictures), "pairs": len(pairs.used)}
        self._saved = int(state.step)  # the step of the newest checkpoint
        self._good = self._snapshot()

    def fit(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Trains until the last epoch is done."""
        begin = int(self._state.step)
        if begin >= self._all_steps:
            epochs = begin // self._epoch_steps
            print(
                f"{self._run.directory} is finished: {epochs} epochs, {begin} steps. A larger --epoch goes on from it; "
                "--resume=False begins anew."
            )
            return
        print(f"{'Going on after' if begin else 'Beginning:'} step {begin} of {self._all_steps}; {self._run.directory}")
        self._state.model.stop_training = False  # a callback may set it, as under Keras fit
        told = keras.callbacks.CallbackList([*self._own_callbacks(begin), *callbacks], model=self._state.model)
        told.on_train_begin()
        try:
            with _stop_signals() as stopped:
                for epoch in range(begin // self._epoch_steps, self._config.epoch):
                    self._run_epoch(epoch, told, stopped)
                    if self._state.model.stop_training:
                        break
            self._save()
        finally:
            told.on_train_end()
        print(f"Done: {int(self._state.step)} steps; weights in {self._run.directory / checkpoint.WEIGHTS}")

    def _own_callbacks(self, begin: int) -> Iterator[keras.callbacks.Callback]:
        config = self._config
        if config.recipe == "reference":
            yield ReferenceLines()
        else:
            yield ProgressBar(begin, self._all_steps, self._batch_size, config.epoch)
        preview = utils.make_pair(utils.read_image((self._pairs.held_out or self._pairs.pictures)[0]), config.scale)
        rows = "\n".join(f"| {name} | {value} |" for name, value in asdict(config).items())
        configuration = f"| flag | value |\n|---|---|\n{rows}\n\n`{config.command}`"
        yield board.Board(_log_directory(config), self._state.published, preview, config.epoch, configuration)

    def _run_epoch(self, epoch: int, told: keras.callbacks.CallbackList, stopped: list[str]) -> None:
        told.on_epoch_begin(epoch)
        start = time.monotonic()
        losses: list[float] = []
        for places, rates in self._calls(epoch):
            began = time.monotonic()
            found = self._steps(places, rates).numpy()
            self._state.seconds.assign_add(time.monotonic() - began)
            losses += found.tolist()
            if not np.isfinite(found).all():
                break
            step = int(self._state.step)
            logs = {"loss": found[-1], "mean_loss": found.mean(), "learning_rate": rates[-1]}
            told.on_train_batch_end(step, logs)
            if step % SAVE_EVERY == 0 and not self._exploded(losses):
                self._save()
            if stopped:
                self._stop(stopped[0], losses)
        seconds = time.monotonic() - start
        if self._exploded(losses):
            self._recover(epoch, losses)
            return
        self._good = self._snapshot()
        self._state.best_loss.assign(min(np.mean(losses), float(self._state.best_loss)))
        logs = {"loss": np.mean(losses), "learning_rate": rates[-1]}
        logs["patches_per_second"] = len(losses) * self._batch_size / seconds
        told.on_epoch_end(epoch, logs | self._measure())

    def _calls(self, epoch: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """The rest of an epoch in calls of up to 10 steps that end at multiples of 10: places in the data, and rates."""
        places = self._pairs.used
        if self._recipe.shuffle:
            places = np.random.default_rng([self._config.seed, epoch]).permutation(places)
        batches = places[: self._epoch_steps * self._batch_size].reshape(self._epoch_steps, self._batch_size)
        while (done := int(self._state.step) - epoch * self._epoch_steps) < self._epoch_steps:
            step = epoch * self._epoch_steps + done
            count = min(EVERY - step % EVERY, self._epoch_steps - done)
            yield batches[done : done + count], self._rates(step, count)

    def _rates(self, step: int, count: int) -> NDArray[np.float32]:
        rates = np.full(count, self._config.learning_rate * 0.5 ** int(self._state.recoveries))
        if self._recipe.cosine:
            steps = step + np.arange(count)
            warm_up = max(1, min(self._epoch_steps, WARM_UP * self._all_steps))
            rates *= np.minimum(1, (steps + 1) / warm_up) * (1 + np.cos(np.pi * steps / self._all_steps)) / 2
        return rates.astype(np.float32)

    def _measure(self) -> dict[str, float]:
        """Scores the held-out pictures with the weights to be published; the means over the pictures."""
        scores = []
        for path in self._pairs.held_out:
            degraded, original = utils.make_pair(utils.read_image(path), self._config.scale)
            if min(original.shape[:2]) - 2 * self._config.scale >= SSIM_WINDOW:
                restored = self._reconstruct(degraded)
                scores.append([*score(restored, original, self._config.scale), score(degraded, original, self._config.scale).psnr])
        if not scores:
            return {}
        names = ("held-out/psnr", "held-out/ssim", "held-out/psnr_bicubic")
        return dict(zip(names, np.mean(scores, axis=0).tolist(), strict=True))

    def _exploded(self, losses: list[float]) -> bool:
        mean = np.mean(losses)
        return not np.isfinite(mean) or (self._recipe.recover and mean > EXPLODED * float(self._state.best_loss))

    def _snapshot(self) -> list[NDArray]:
        return [variable.numpy() for variable in self._state.learned()]

    def _recover(self, epoch: int, losses: list[float]) -> None:
        """Takes back the weights of the last good epoch and halves the rate; the epoch is lost, its steps count."""
        step, before = int(self._state.step), checkpoint.latest(self._run.directory)
        if not self._recipe.recover or int(self._state.recoveries) == RECOVERIES:
            kept = f"the last good checkpoint is {before}" if before else "no checkpoint had been written"
            raise RunError(
                f"The loss became {losses[-1]} at step {step} (epoch {epoch + 1}): the rate is too high. Training is "
                f"stopped; {kept}. Begin anew with --resume=False and a --learning_rate below "
                f"{self._config.learning_rate:g}."
            )
        self._state.recoveries.assign_add(1)
        for variable, value in zip(self._state.learned(), self._good, strict=True):
            variable.assign(value)
        self._state.step.assign((epoch + 1) * self._epoch_steps)
        print(
            f"Warning: the loss of epoch {epoch + 1} rose to {np.mean(losses):.6f} (best {float(self._state.best_loss):.6f}); "
            "going on from the weights before it, at half the rate."
        )

    def _stop(self, name: str, losses: list[float]) -> None:
        if not self._exploded(losses):
            self._save()
        raise Interrupted(
            f"Stopped by {name}; the newest checkpoint is of step {self._saved} of {self._all_steps}. "
            f"The same command goes on from there: {self._config.command}"
        )

    def _save(self) -> None:
        step = int(self._state.step)
        if step == self._saved:
            return
        directory = self._run.directory
        if not (directory / checkpoint.RECORD).exists():
            checkpoint.write_record(directory, self._record())  # first of all: it says what the checkpoints belong to
        self._run.save(step)
        self._saved = step
        checkpoint.publish(self._state.published, self._config, directory)
        checkpoint.write_record(directory, self._record())

    def _record(self) -> dict[str, Any]:
        packages = ("tensorflow", "keras", "numpy", "scipy")
        return {
            "command": self._config.command,
            "config": asdict(self._config),
            "data": self._data,
            "step": int(self._state.step),
            "steps": self._all_steps,
            "seconds": round(float(self._state.seconds), 1),
            "versions": {"srcnn_tf": srcnn_tf.__version__, "python": platform.python_version()}
            | {name: version(name) for name in packages},
        }


@contextmanager
def _stop_signals() -> Iterator[list[str]]:
    """Collects Ctrl-C and SIGTERM, so that a step or a checkpoint is never cut in two; a second one cuts at once."""
    received: list[str] = []

    def handle(number: int, frame: object) -> None:
        received.append(signal.Signals(number).name)
        for name, handler in before.items():
            signal.signal(name, handler)

    before = {name: signal.signal(name, handle) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
