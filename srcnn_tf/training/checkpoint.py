"""Saves and restores a run: its checkpoints and the record of what they belong to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.system.files import atomic_write, without_patterns
from srcnn_tf.training.step import TrainingState
from srcnn_tf.weights.store import KERAS_FILE, WEIGHTS_FILE

PREFIX = "SRCNN.model"  # the reference's name of a checkpoint, before '-<step>'
RECORD = "config.json"
FLAGS = "flags"  # for --flagfile
KEEP = 3  # checkpoints of a run; the reference kept TensorFlow 1's five


def save_checkpoint(directory: Path, state: TrainingState) -> None:
    """Writes `SRCNN.model-<step>` with all of the state.

    It is written under a temporary name and renamed, and the former ones stay, so that a run killed at any moment has
    a complete checkpoint.

    Raises:
        RunError: it cannot be written; the former ones are untouched.
    """
    path = directory / f"{PREFIX}-{int(state.step)}"
    try:
        _checkpoint(state).write(str(path))
        # By this file tf.train.latest_checkpoint finds it.
        with atomic_write(directory / "checkpoint") as temporary:
            temporary.write_text(f'model_checkpoint_path: "{path.name}"\n', encoding="utf-8")
    except (tf.errors.OpError, OSError) as error:
        reason = str(getattr(error, "message", error)).split("\n")[0]
        raise RunError(
            f"{path}: cannot be written ({reason}); the former checkpoints are kept. Free some disk space, and the "
            "same command resumes from them."
        ) from error
    finally:
        for leftover in directory.glob(f"{PREFIX}-*_temp*"):  # of TensorFlow that failed or was killed while it wrote
            shutil.rmtree(leftover, ignore_errors=True)


def restore_checkpoint(directory: Path, state: TrainingState) -> None:
    """Restores the state from the newest checkpoint.

    Raises:
        RunError: it is damaged, or holds another state; the message says what to delete.
    """
    *older, newest = _checkpoints(directory)
    try:
        with without_patterns(newest) as name:
            _checkpoint(state).read(str(name)).assert_existing_objects_matched()
    except Exception as error:  # a damaged file raises OpError, ValueError, IndexError, AssertionError and more
        then = f"the run then resumes from {older[-1].name}" if older else "the run then restarts"
        raise RunError(
            f"{newest}: the checkpoint cannot be read: it is damaged, or of another version of this program. Delete "
            f"{newest}.* and give the same command again: {then}; or restart with --resume=False."
        ) from error


def _checkpoint(state: TrainingState) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(
        model=state.model,
        overparameterization=state.overparameterization,
        optimizer=state.optimizer,
        step=state.step,
        seconds=state.seconds,
        total_steps=state.total_steps,
        start_step=state.start_step,
        start_rate=state.start_rate,
    )


def latest_checkpoint(directory: Path) -> Path | None:
    """Returns the newest complete checkpoint in a run's folder, as TensorFlow's prefix of its files, or None."""
    return next(reversed(_checkpoints(directory)), None)


def _checkpoints(directory: Path) -> list[Path]:
    """Lists the complete checkpoints, oldest first."""
    steps = (path.stem.removeprefix(f"{PREFIX}-") for path in directory.glob(f"{PREFIX}-*.index"))
    return [directory / f"{PREFIX}-{step}" for step in sorted((step for step in steps if step.isdigit()), key=int)]


def delete_obsolete(directory: Path) -> None:
    """Deletes the oldest checkpoints beyond `KEEP`."""
    _delete_checkpoints(directory, {checkpoint.name for checkpoint in _checkpoints(directory)[:-KEEP]})


def delete_former_run(directory: Path, step: int) -> None:
    """Deletes the checkpoints and weights of a former run, but not the first checkpoint of the new one."""
    names = {path.stem for path in directory.iterdir() if path.name.startswith(f"{PREFIX}-")}
    _delete_checkpoints(directory, names - {f"{PREFIX}-{step}"})
    for name in (WEIGHTS_FILE, KERAS_FILE):
        (directory / name).unlink(missing_ok=True)


def _delete_checkpoints(directory: Path, names: set[str]) -> None:
    for path in list(directory.iterdir()):
        if path.stem in names and path.is_file():
            path.unlink()


def write_record(directory: Path, record: dict[str, Any]) -> None:
    """Writes config.json: the configuration, the training data, the progress and the versions.

    Raises:
        RunError: it cannot be written.
    """
    with atomic_write(directory / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def write_flags(directory: Path, flags: Sequence[str]) -> None:
    """Writes the flags that repeat the run, one per line.

    Raises:
        RunError: they cannot be written.
    """
    with atomic_write(directory / FLAGS) as temporary:
        temporary.write_text("".join(f"{flag}\n" for flag in flags), encoding="utf-8")


def read_record(directory: Path) -> dict[str, Any]:
    """Reads config.json.

    Returns:
        What `write_record` wrote, with `config` as a `Config`.

    Raises:
        RunError: it is absent, damaged, or of another version of this program.
    """
    path = directory / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["config"] = Config(**record["config"])
        # An absent key raises an error here.
        record["recipe"], record["data"]["sha256"], record["data"]["images"], record["step"]
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: cannot be read ({error!r}): it is absent, damaged, or of another version of this program, and "
            "without it the checkpoints beside it cannot be resumed. Put it back, or restart with --resume=False."
        ) from error
