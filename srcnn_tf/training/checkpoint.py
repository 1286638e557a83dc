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
NEW = ".new-"  # what a hidden name begins with
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
    _write_checkpoint(directory, f"{PREFIX}-{int(state.step)}", state)
    _name_latest(directory)


def replace_former_run(directory: Path, state: TrainingState, record: dict[str, Any]) -> None:
    """Writes the first checkpoint and the record of a run, which take the place of those of a former run.

    Killed at any moment, the folder holds the former run or the new one: the checkpoint has a hidden name until the
    record is written, and that lists the files of the former run, for `finish_replacement`.

    Args:
        directory: the run's folder.
        state: what is saved.
        record: see `write_record`. The step that is written is 0, that of the weights, of which there are none yet.

    Raises:
        RunError: they cannot be written; the former run is untouched.
    """
    former = [path.name for path in directory.glob(f"{PREFIX}-*")] + [WEIGHTS_FILE, KERAS_FILE]
    _write_checkpoint(directory, f"{NEW}{PREFIX}-{int(state.step)}", state)
    write_record(directory, record | {"step": 0, "former": former})
    finish_replacement(directory)


def finish_replacement(directory: Path) -> None:
    """Finishes `replace_former_run`, also that of a killed process: after its record the new run counts, else not."""
    try:
        record = json.loads((directory / RECORD).read_text(encoding="utf-8"))
        is_unfinished = "former" in record
    except (OSError, ValueError, TypeError):  # `read_record` reports it
        is_unfinished = False
    # Data before the index, with which a checkpoint is complete.
    new = sorted(path for path in directory.glob(f"{NEW}*") if path.is_file())
    if not is_unfinished:
        for path in new:
            path.unlink()
        return
    for name in record["former"]:
        (directory / name).unlink(missing_ok=True)
    write_record(directory, record | {"former": []})  # new files may have the same names
    for path in new:
        path.rename(directory / path.name.removeprefix(NEW))
    _name_latest(directory)
    del record["former"]
    write_record(directory, record)


def _write_checkpoint(directory: Path, name: str, state: TrainingState) -> None:
    try:
        _checkpoint(state).write(str(directory / name))
    except (tf.errors.OpError, OSError) as error:
        reason = str(getattr(error, "message", error)).split("\n")[0]
        raise RunError(
            f"{directory / name.removeprefix(NEW)}: cannot be written ({reason}); the former checkpoints are kept. "
            "Free some disk space, and the same command resumes from them."
        ) from error
    finally:
        for leftover in directory.glob(f"*{PREFIX}-*_temp*"):  # of TensorFlow that failed or was killed while it wrote
            shutil.rmtree(leftover, ignore_errors=True)


def _name_latest(directory: Path) -> None:
    """Writes the file by which tf.train.latest_checkpoint finds the newest checkpoint."""
    newest = latest_checkpoint(directory)
    if newest is not None:
        with atomic_write(directory / "checkpoint") as temporary:
            temporary.write_text(f'model_checkpoint_path: "{newest.name}"\n', encoding="utf-8")


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
    names = {checkpoint.name for checkpoint in _checkpoints(directory)[:-KEEP]}
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
