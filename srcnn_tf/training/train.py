"""The training run: from a folder of images to checkpoints and weights, in one loop around the compiled step."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import find_images
from srcnn_tf.errors import RunError, StoppedError
from srcnn_tf.images.read import fingerprint
from srcnn_tf.system.devices import has_gpu
from srcnn_tf.system.jobs import program_fingerprint
from srcnn_tf.testing.tensorboard import TensorBoardLog
from srcnn_tf.testing.tiling import TiledModel
from srcnn_tf.training import checkpoint
from srcnn_tf.training.callbacks import PRINT_EVERY, HistoryFile, ProgressBar, ReferenceLines, TrainingLog
from srcnn_tf.training.patches import load_training_set, shards
from srcnn_tf.training.recipes import RECIPES, Recipe
from srcnn_tf.training.run import Run, is_resumed, lock
from srcnn_tf.training.schedule import Schedule, learning_rate
from srcnn_tf.training.step import Settings, compile_steps, create_state
from srcnn_tf.training.workers import Workers, find_workers
from srcnn_tf.utils import preprocess
from srcnn_tf.weights.search import WEIGHTS_FILE
from srcnn_tf.weights.store import read_weights

SAVE_EVERY = 500  # steps between two checkpoints, as in the reference
STEPS_PER_CALL = PRINT_EVERY  # on a processor; the reference's lines are printed between two calls


def train(
    config: Config,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    recipe: Recipe | None = None,
    workers: Workers | None = None,
) -> None:
    """Trains a network, or resumes an unfinished run of the same configuration.

    Of several workers, each calls this; the chief alone writes checkpoints, logs and weights, validates, and calls the
    callbacks.

    Args:
        config: what to train, on which images, and where to write.
        callbacks: further Keras callbacks, called as `training.callbacks` describes. Weights that they change may be
            overwritten by the next step, as kernels can be products of over-parameterized ones.
        recipe: how to train. Default: the recipe that `config.recipe` names.
        workers: who trains. Default: those of TF_CONFIG, or this process with all GPUs.

    Raises:
        RunError: training is impossible or failed; what was learned so far is kept in a checkpoint.
        StoppedError: the user stopped it; likewise.
    """
    recipe, workers = recipe or RECIPES[config.recipe], workers or find_workers()
    directory = config.search.run_directory(config.network)
    with workers.report_lost(), lock(Path(config.checkpoint_dir)) if workers.is_chief else nullcontext():
        # The training file is up to date for the others, if they share the chief's folder; else they write their own.
        with workers.chief_first():
            paths = find_images(config, "train_dir")
            data_hash = fingerprint(paths, config.train_dir)
            resumed = workers.is_chief and is_resumed(config, recipe, directory, data_hash)
            weights = None
            if config.weights is not None and workers.is_chief and not resumed:
                weights = read_weights(Path(config.weights), config.network)
            state = create_state(config, recipe, weights)
            training_set = load_training_set(config, recipe, paths, data_hash)
        if training_set.batch_size < workers.strategy.num_replicas_in_sync:
            raise RunError(
                f"Batches of {training_set.batch_size} patches cannot be divided among "
                f"{workers.strategy.num_replicas_in_sync} workers or GPUs: give a larger --batch_size or fewer of them."
            )
        same = [config.identity, asdict(recipe), data_hash, config.epoch, config.precision, program_fingerprint()]
        workers.check_same(same)
        if resumed:
            checkpoint.restore_checkpoint(directory, state)
        workers.synchronize(state.variables)
        run = Run(config, recipe, training_set, state, data_hash, workers, saved_step=int(state.step))
        if run.saved_step < run.total_steps:
            _fit(run, callbacks)
            return
        # Killed between checkpoint and weights.
        if workers.is_chief and checkpoint.read_record(directory)["step"] < run.saved_step:
            run.save_weights()
        print(
            f"{directory} is finished: {run.saved_step // training_set.steps_per_epoch} epochs, {run.saved_step} "
            "steps. A larger --epoch resumes it; --resume=False restarts it."
        )


def _fit(run: Run, callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Trains to the last epoch; on the chief, with the callbacks of this program and others."""
    config, training_set, first_step = run.config, run.training_set, run.saved_step
    schedule, notice = _schedule(run)
    run.state.total_steps.assign(schedule.total_steps)
    run.state.start_step.assign(schedule.start_step)
    run.state.start_rate.assign(schedule.start_rate)
    restore = TiledModel(run.state.model, config.network.color)
    log = TensorBoardLog(Path(config.log_dir, config.run_name))
    all_callbacks: list[keras.callbacks.Callback] = []
    if run.workers.is_chief:
        log.open(append=first_step > 0)
        preview_image = training_set.image([*training_set.validation, 0][0])
        preview = preprocess(preview_image, config, compression=config.compression)
        rows = "\n".join(f"| {name} | {value} |" for name, value in asdict(config).items())
        configuration = f"| flag | value |\n|---|---|\n{rows}\n\n`{config.command}`"
        all_callbacks = [
            ReferenceLines()
            if run.recipe.print_steps
            else ProgressBar(first_step, run.total_steps, training_set.batch_size, config.epoch),
            HistoryFile(log, first_step // training_set.steps_per_epoch),
            TrainingLog(log, restore, preview, config.epoch, configuration, config.network.color),
            *callbacks,
        ]
    run.state.model.stop_training = False  # a callback may set it, as under Keras's fit
    callback_list = keras.callbacks.CallbackList(all_callbacks, model=run.state.model)
    with _stop_signals() as signals:
        start = "Resuming from" if first_step else "Starting at"
        print(f"{start} step {first_step} of {run.total_steps}; {run.directory}\n{notice}".rstrip(), flush=True)
        callback_list.on_train_begin()
        try:
            _train_epochs(run, schedule, restore, callback_list, signals)
        finally:
            callback_list.on_train_end()
    run.workers.barrier()  # the others wait for the chief's last files
    print(f"Done: {int(run.state.step)} steps; weights in {run.directory / WEIGHTS_FILE}")
    if log.problem:
        raise RunError("The training is complete, but its log could not be written, as reported above.")


def _train_epochs(
    run: Run,
    schedule: Schedule,
    restore: TiledModel,
    callback_list: keras.callbacks.CallbackList,
    signals: list[str],
) -> None:
    """Trains from the state's step to the end: epochs, calls of many steps, checkpoints, validation, callbacks."""
    config, state, workers = run.config, run.state, run.workers
    steps_per_epoch, batch_size = run.training_set.steps_per_epoch, run.training_set.batch_size
    dtype = "float32" if config.precision == "auto" else config.precision
    settings = Settings(run.recipe, workers, batch_size, config.seed, dtype, xla=has_gpu())
    compiled_steps = compile_steps(state, config, settings)
    # A GPU needs less time for a step than Python for a call: there, a call goes as far as a checkpoint allows.
    steps_per_call = SAVE_EVERY if has_gpu() and not run.recipe.print_steps else STEPS_PER_CALL
    step, losses = int(state.step), list[float]()

    for shard in shards(run.training_set, config, run.recipe, step, workers.share(batch_size)):
        epoch = step // steps_per_epoch
        if not losses:
            callback_list.on_epoch_begin(epoch)
            epoch_start = time.monotonic()

        for batches in _calls(shard.batches, step, steps_per_call):
            rates = learning_rate(schedule, step + np.arange(len(batches))).astype(np.float32)
            call_start = time.monotonic()
            try:
                call_losses = compiled_steps(shard.data, shard.label, batches, rates).numpy()
            except tf.errors.ResourceExhaustedError as error:
                raise RunError(
                    f"There is not enough memory for batches of {batch_size} patches: give a smaller --batch_size."
                ) from error
            state.seconds.assign_add(time.monotonic() - call_start)
            step += len(batches)
            losses += call_losses.tolist()
            run.check_finite(call_losses)
            logs = {"loss": call_losses[-1], "mean_loss": call_losses.mean(), "learning_rate": rates[-1]}
            callback_list.on_train_batch_end(step, logs)
            if step % SAVE_EVERY == 0:
                run.save()
            is_stopped = workers.any_worker(bool(signals))
            if is_stopped and step % steps_per_epoch:
                _stop(run, signals)

        if step % steps_per_epoch:
            continue  # the epoch has more patches
        if is_stopped:  # validation takes time, which whoever stops the run may not have
            run.save()
        logs = {
            "loss": np.mean(losses),
            "learning_rate": rates[-1],
            "seconds": float(state.seconds),
            "patches_per_second": len(losses) * batch_size / (time.monotonic() - epoch_start),
        }
        if workers.is_chief:
            callback_list.on_epoch_end(epoch, logs | run.validate(restore))
        losses = []
        if workers.any_worker(bool(signals)) and step < run.total_steps:
            _stop(run, signals)
        if workers.any_worker(state.model.stop_training):
            break
    run.save()


def _calls(batches: NDArray[np.int64], step: int, steps_per_call: int) -> Iterator[NDArray[np.int64]]:
    """Yields the batches of each call; calls end at multiples of `steps_per_call` steps of the run."""
    begin = 0
    while begin < len(batches):
        end = begin + steps_per_call - (step + begin) % steps_per_call
        yield batches[begin:end]
        begin = end


def _schedule(run: Run) -> tuple[Schedule, str]:
    """Returns the schedule of the run's length; and a notice of what changes, if a resumed run had another length."""
    state, step, steps_per_epoch = run.state, int(run.state.step), run.training_set.steps_per_epoch
    schedule = Schedule(
        peak=run.config.learning_rate,
        cosine_decay=run.recipe.cosine_decay,
        steps_per_epoch=steps_per_epoch,
        total_steps=int(state.total_steps) or run.total_steps,
        start_step=int(state.start_step),
        start_rate=float(state.start_rate),
    )
    if schedule.total_steps == run.total_steps:
        return schedule, ""
    change = f"The run had {schedule.total_steps // steps_per_epoch} epochs, now it has {run.config.epoch}: "
    rate = float(learning_rate(schedule, step))
    schedule = replace(schedule, total_steps=run.total_steps, start_step=step, start_rate=rate)
    if not schedule.cosine_decay:
        return schedule, change + "the learning rate stays the same."
    return schedule, change + f"the learning rate warms up from {rate:.1e} to the schedule of the new length."


def _stop(run: Run, signals: list[str]) -> None:
    run.save()
    cause = signals[0] if signals else "another worker"
    raise StoppedError(
        f"Stopped by {cause}; the newest checkpoint is of step {run.saved_step} of {run.total_steps}. "
        f"The same command resumes from there: {run.config.command}"
    )


@contextmanager
def _stop_signals() -> Iterator[list[str]]:
    """Collects Ctrl-C and SIGTERM, so that no step or checkpoint is interrupted; a second signal interrupts at once."""
    received: list[str] = []

    def handle(number: int, frame: object) -> None:
        received.append(signal.Signals(number).name)
        for name, handler in former.items():
            signal.signal(name, handler)

    former = {name: signal.signal(name, handle) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for name, handler in former.items():
            signal.signal(name, handler)
