"""Training: pictures to pairs, and a loop of our own around one compiled step function."""

from __future__ import annotations

import platform
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

import srcnn_tf
from srcnn_tf import utils
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.datasets import samples as datasets
from srcnn_tf.devices import has_gpu
from srcnn_tf.errors import RunError, StoppedError
from srcnn_tf.images.pictures import fingerprint, read_image
from srcnn_tf.inference import board
from srcnn_tf.inference.tiling import Reconstructor, score
from srcnn_tf.training.patches import Pairs, Window, load_pairs
from srcnn_tf.training.progress import EVERY, ProgressBar, ReferenceLines
from srcnn_tf.training.recovery import Recovery
from srcnn_tf.training.schedule import Schedule
from srcnn_tf.training.step import State, compile_steps, on_device
from srcnn_tf.weights import checkpoint

SAVE_EVERY = 500  # steps from one checkpoint to the next, as in the reference


def train(config: Config, callbacks: Sequence[keras.callbacks.Callback] = ()) -> None:
    """Trains a network as `config` says, or goes on with a training that was stopped.

    Args:
        config: what to do.
        callbacks: Keras callbacks of one's own. They are told of each call of many steps (10; on a GPU, 500) as of
            one batch, whose number is the count of steps done. Kernels that they change under recipe `modern` are
            overwritten by the next step, which makes them from their factors.

    Raises:
        RunError: it could not be done; what was learned so far is kept in a checkpoint.
        StoppedError: the user stopped it; likewise.
    """
    pictures = datasets.find_pictures(config, "train_dir")
    data_hash = fingerprint(pictures, config.train_dir)
    directory = checkpoint.run_directory(config)
    resuming = _is_resumed(config, directory, data_hash)
    state = State(config, resuming)
    pairs = load_pairs(config, pictures, data_hash, on_device)
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
    now, then = config.identity, record["config"].identity
    different = [f"--{name} was {then[name]}, now {now[name]}" for name in now if now[name] != then[name]]
    if record["data"]["sha256"] != data_hash:
        were = f"{record['data']['pictures']} below {record['config'].train_dir}"
        different.append(f"the training pictures were others ({were})")
    if different:
        raise RunError(
            f"{directory} holds another run: {'; '.join(different)}. Give the same flags to go on with it, "
            "--resume=False to begin anew in its place, or another --checkpoint_dir."
        )
    return True


# --- the loop -----------------------------------------------------------------------------------------


class Trainer:
    """Runs the epochs: batches in, losses out, checkpoints, measurements, recovery, callbacks."""

    def __init__(self, config: Config, pairs: Pairs, state: State, run: checkpoint.Checkpoints, data_hash: str) -> None:
        self._config, self._pairs, self._state, self._run = config, pairs, state, run
        self._recipe = RECIPES[config.recipe]
        self._batch_size, self._epoch_steps = pairs.batch_size, pairs.epoch_steps
        self._all_steps = config.epoch * self._epoch_steps
        self._steps = compile_steps(state, config, pairs.batch_size, xla=has_gpu())
        # A GPU takes less time for a step than Python for a call: there, a call goes as far as a checkpoint allows.
        self._steps_a_call = SAVE_EVERY if has_gpu() and config.recipe != "reference" else EVERY
        self._reconstruct = Reconstructor(state.published, rgb=config.rgb)
        self._data = {"sha256": data_hash, "pictures": len(pairs.pictures), "pairs": len(pairs.used)}
        self._saved = int(state.step)  # the step of the newest checkpoint
        self._log = board.Log(Path(config.log_dir, config.run_name))
        self._recovery = Recovery(state, self._recipe.recover)
        self._schedule = Schedule(config, self._epoch_steps, state)

    def fit(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Trains until the last epoch is done."""
        begin = int(self._state.step)
        if begin >= self._all_steps:
            if checkpoint.read_record(self._run.directory)["step"] < begin:  # killed after the last checkpoint
                self._publish()
            print(
                f"{self._run.directory} is finished: {begin // self._epoch_steps} epochs, {begin} steps. A larger "
                "--epoch goes on from it; --resume=False begins anew."
            )
            return
        self._state.model.stop_training = False  # a callback may set it, as under Keras fit
        told = keras.callbacks.CallbackList([*self._own_callbacks(begin), *callbacks], model=self._state.model)
        with _stop_signals() as stopped:
            beginning = "Going on after" if begin else "Beginning:"
            print(f"{beginning} step {begin} of {self._all_steps}; {self._run.directory}", flush=True)
            self._schedule.announce()
            told.on_train_begin()
            try:
                self._run_epochs(begin // self._epoch_steps, told, stopped)
            finally:
                told.on_train_end()
        print(f"Done: {int(self._state.step)} steps; weights in {self._run.directory / checkpoint.WEIGHTS}")
        if self._log.problem:
            raise RunError("The training is complete, but its log could not be written, as said above.")

    def _run_epochs(self, first: int, told: keras.callbacks.CallbackList, stopped: list[str]) -> None:
        for epoch in range(first, self._config.epoch):
            self._run_epoch(epoch, told, stopped)
            if stopped and int(self._state.step) < self._all_steps:
                self._stop(stopped[0])
            if self._state.model.stop_training:
                break
        self._save()

    def _own_callbacks(self, begin: int) -> Iterator[keras.callbacks.Callback]:
        config = self._config
        if config.recipe == "reference":
            yield ReferenceLines()
        else:
            yield ProgressBar(begin, self._all_steps, self._batch_size, config.epoch)
        shown = read_image((self._pairs.held_out or self._pairs.pictures)[0])
        preview = utils.degraded_pair(shown, config.scale, config.degradation, config.color_space)
        rows = "\n".join(f"| {name} | {value} |" for name, value in asdict(config).items())
        configuration = f"| flag | value |\n|---|---|\n{rows}\n\n`{config.command}`"
        self._log.open(anew=begin == 0)
        yield board.History(self._log, begin // self._epoch_steps)
        yield board.Board(self._log, self._reconstruct, preview, config, configuration)

    def _run_epoch(self, epoch: int, told: keras.callbacks.CallbackList, stopped: list[str]) -> None:
        told.on_epoch_begin(epoch)
        start, losses = time.monotonic(), []
        for window, batches, rates in self._calls(epoch):
            began = time.monotonic()
            found = self._compute(window, batches, rates)
            self._state.seconds.assign_add(time.monotonic() - began)
            losses += found.tolist()
            if not np.isfinite(found).all():
                break
            step = int(self._state.step)
            logs = {"loss": found[-1], "mean_loss": found.mean(), "learning_rate": rates[-1]}
            told.on_train_batch_end(step, logs)
            if step % SAVE_EVERY == 0 and self._recovery.sound(losses, whole_epoch=False):
                self._save()
            if stopped and step < (epoch + 1) * self._epoch_steps:
                self._stop(stopped[0], losses)
        logs = {"loss": np.mean(losses), "learning_rate": rates[-1], "seconds": float(self._state.seconds)}
        logs["patches_per_second"] = len(losses) * self._batch_size / (time.monotonic() - start)
        whole = len(losses) == self._epoch_steps
        if self._recovery.sound(losses, whole):
            self._recovery.keep(losses, whole)
            if stopped:  # measuring takes time, which whoever stops it may not have
                self._save()
        else:
            self._go_back(epoch, losses)
        told.on_epoch_end(epoch, logs | self._measure())

    def _compute(self, window: Window, batches: NDArray[np.int64], rates: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            return self._steps(window.data, window.label, batches, rates).numpy()
        except tf.errors.ResourceExhaustedError as error:
            raise RunError(
                f"There is not enough memory for batches of {self._batch_size} sub-images: give a smaller --batch_size."
            ) from error

    def _calls(self, epoch: int) -> Iterator[tuple[Window, NDArray[np.int64], NDArray[np.float32]]]:
        """The rest of an epoch in calls that end with its windows and at multiples of so many steps."""
        turn = {"never": None, "once": 0, "each epoch": epoch}[self._recipe.shuffle]
        rng = None if turn is None else np.random.default_rng([self._config.seed, turn])
        begin = int(self._state.step) - epoch * self._epoch_steps
        for window in self._pairs.windows(epoch, self._pairs.batches(rng), begin):
            done = 0
            while done < len(window.batches):
                step = int(self._state.step)
                batches = window.batches[done : done + self._steps_a_call - step % self._steps_a_call]
                rates = self._schedule.rates(step, len(batches)) * self._recovery.rate()
                yield window, batches, rates.astype(np.float32)
                done += len(batches)

    def _measure(self) -> dict[str, float]:
        """Scores the held-out pictures with the weights to be published; the means over the pictures."""
        scores = [measured for path in self._pairs.held_out if (measured := self._measure_one(path))]
        names = ("held-out/psnr", "held-out/ssim", "held-out/psnr_bicubic")
        return dict(zip(names, np.mean(scores, axis=0).tolist(), strict=True)) if scores else {}

    def _measure_one(self, path: Path) -> tuple[float, float, float] | None:
        """PSNR, SSIM and bicubic PSNR of a picture; None if it is too small, or cannot be read any more."""
        config = self._config
        try:
            # Read again each time: many large pictures would fill the memory.
            degraded, original = utils.degraded_pair(
                read_image(path), config.scale, config.degradation, config.color_space
            )
            return *score(self._reconstruct(degraded), original, config), score(degraded, original, config).psnr
        except (RunError, ValueError):
            return None

    def _go_back(self, epoch: int, losses: list[float]) -> None:
        """Takes back what an epoch did; its steps still count."""
        before = checkpoint.latest(self._run.directory)
        if not self._recovery.go_back(last_epoch=epoch + 1 == self._config.epoch):
            kept = f"the last good checkpoint is {before}" if before else "no checkpoint had been written"
            raise RunError(
                f"The loss became {losses[-1]:g} at step {int(self._state.step)} (epoch {epoch + 1}): the rate is too "
                f"high. Training is stopped; {kept}. Begin anew with --resume=False and a --learning_rate below "
                f"{self._config.learning_rate:g}."
            )
        self._state.step.assign((epoch + 1) * self._epoch_steps)
        print(
            f"Warning: the loss of epoch {epoch + 1} exploded to {np.mean(losses):g}; going on from the last good "
            "weights, at half the rate."
        )

    def _stop(self, name: str, losses: Sequence[float] = ()) -> None:
        if self._recovery.sound(losses, whole_epoch=False):
            self._save()
        raise StoppedError(
            f"Stopped by {name}; the newest checkpoint is of step {self._saved} of {self._all_steps}. "
            f"The same command goes on from there: {self._config.command}"
        )

    def _save(self) -> None:
        step = int(self._state.step)
        if step == self._saved:
            return
        if self._saved == 0:
            # An earlier run stays until there is something to take its place. The record is first, since it says what
            # the checkpoints belong to; its step is that of the published weights.
            checkpoint.clear(self._run.directory)
            checkpoint.write_record(self._run.directory, self._record() | {"step": 0})
        self._run.save(step)
        self._saved = step
        self._publish()

    def _publish(self) -> None:
        checkpoint.publish(self._state.published, self._config, self._run.directory)
        checkpoint.write_record(self._run.directory, self._record())

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
