"""A training run: what it is made of, what is saved of it, and which former run it resumes."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from numpy.typing import ArrayLike

import srcnn_tf
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.color import Floats
from srcnn_tf.images.metrics import score_channels
from srcnn_tf.testing.tiling import TiledModel
from srcnn_tf.training import checkpoint
from srcnn_tf.training.patches import TrainingSet
from srcnn_tf.training.recipes import Recipe
from srcnn_tf.training.step import TrainingState
from srcnn_tf.training.workers import Workers
from srcnn_tf.utils import preprocess
from srcnn_tf.weights.models import save_model

VALIDATION_BYTES = 2**28  # of degraded validation images that are kept; further ones are degraded in each epoch


@dataclass
class Run:
    """A training run, and what is saved of it.

    Attributes:
        config: what to train.
        recipe: how to train.
        training_set: the patches and the validation images.
        state: what training changes.
        data_hash: fingerprint of the training images.
        workers: who trains.
        saved_step: step of the newest checkpoint.
        reported_infinite_psnr: whether it was said that validation images are left out of the means.
        validation_channels: validation images that are degraded already, by number, see `_validation_channels`.
    """

    config: Config
    recipe: Recipe
    training_set: TrainingSet
    state: TrainingState
    data_hash: str
    workers: Workers
    saved_step: int
    reported_infinite_psnr: bool = False
    validation_channels: dict[int, tuple[Floats, Floats, bool]] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Folder of the checkpoints and weights."""
        return self.config.search.run_directory(self.config.network)

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run."""
        return self.config.epoch * self.training_set.steps_per_epoch

    def save(self) -> None:
        """Writes a checkpoint and the weights, if this is the chief.

        Raises:
            RunError: they cannot be written, or the state is not finite; the former checkpoints are kept.
        """
        step = int(self.state.step)
        if step == self.saved_step:
            return
        trained = (*self.state.overparameterization.trained_variables(), *self.state.optimizer.variables)
        self.check_finite(*(variable.numpy() for variable in trained))
        self.workers.synchronize(self.state.variables)  # as after resuming; and processors of two kinds may differ
        former_step, self.saved_step = self.saved_step, step
        if not self.workers.is_chief:
            return
        if former_step == 0:
            checkpoint.replace_former_run(self.directory, self.state, self._record())
        else:
            checkpoint.save_checkpoint(self.directory, self.state)
        checkpoint.delete_obsolete(self.directory)
        self.save_weights()

    def save_weights(self) -> None:
        """Writes the weights, the flags that repeat the run, and the record with the step of the weights."""
        save_model(self.state.model, self.config.network, self.directory)
        checkpoint.write_flags(self.directory, self.config.flags)
        checkpoint.write_record(self.directory, self._record())

    def _record(self) -> dict[str, Any]:
        training_set, packages = self.training_set, ("tensorflow", "keras", "numpy", "scipy")
        return {
            "command": self.config.command,
            "config": asdict(self.config),
            "recipe": asdict(self.recipe),
            "data": {
                "sha256": self.data_hash,
                "images": len(training_set.paths),
                "patches": len(training_set.indices),
            },
            "step": int(self.state.step),
            "steps": self.total_steps,
            "seconds": round(float(self.state.seconds), 1),
            "versions": {"srcnn_tf": srcnn_tf.__version__, "python": platform.python_version()}
            | {name: version(name) for name in packages},
        }

    def check_finite(self, *values: ArrayLike) -> None:
        """Checks that training has not diverged.

        Raises:
            RunError: one of the values, such as losses, or of the weights is not a finite number.
        """
        if all(np.isfinite(numbers).all() for numbers in (*values, *self.state.model.get_weights())):
            return
        newest = checkpoint.latest_checkpoint(self.directory) if self.saved_step else None
        kept = f"the last checkpoint is {newest}" if newest else "no checkpoint was written"
        raise RunError(
            f"The loss or the weights became infinite or NaN by step {int(self.state.step)}: the learning rate is too "
            f"high. Training is stopped; {kept}. Restart with --resume=False and a --learning_rate below "
            f"{self.config.learning_rate:g}."
        )

    def validate(self, restore: TiledModel) -> dict[str, float]:
        """Scores the validation images as testing does; returns the means over the images, under the names of logs.

        An image that can no longer be used is removed from the training set's list.
        """
        scores = []
        for number in list(self.training_set.validation):
            try:
                degraded, original, is_measured = self._validation_channels(number)
                restored, bicubic = (
                    score_channels(channels, original, self.config.scale, self.config.network.color, is_measured)
                    for channels in (restore(degraded), degraded)
                )
                scores.append((restored.psnr, restored.ssim, bicubic.psnr))
            except (RunError, ValueError, MemoryError) as error:  # too small for the scale, or its file has vanished
                print(f"Warning: {self.training_set.paths[number]} is not used for validation any more: {error}")
                self.training_set.validation.remove(number)
        names = ("held-out/psnr", "held-out/ssim", "held-out/psnr_bicubic")
        # An image that bicubic interpolation restores exactly, as a black one, has an infinite PSNR.
        finite = [one for one in scores if np.isfinite(one).all()]
        if len(finite) < len(scores) and not self.reported_infinite_psnr:
            print(f"Left out of the validation's means: {len(scores) - len(finite)} images with infinite PSNR.")
            self.reported_infinite_psnr = True
        return dict(zip(names, np.mean(finite, axis=0).tolist(), strict=True)) if finite else {}

    def _validation_channels(self, number: int) -> tuple[Floats, Floats, bool]:
        """Returns the degraded and the original channels of an image, which are kept as long as there is room.

        The third value says whether the image is measured data, see `images.metrics.score_channels`.
        """
        if number in self.validation_channels:
            return self.validation_channels[number]
        image = self.training_set.image(number)
        degraded, original = preprocess(image, self.config, compression=self.config.compression)
        if self.config.c_dim == 1:  # chroma has no score
            degraded, original = degraded[..., :1].copy(), original[..., :1].copy()
        channels = degraded, original, image.dtype != np.uint8
        kept = sum(one.nbytes + other.nbytes for one, other, _ in self.validation_channels.values())
        if kept + degraded.nbytes + original.nbytes <= VALIDATION_BYTES:
            self.validation_channels[number] = channels
        return channels


@contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Refuses a second training in the same folder. The operating system releases the lock of a killed process.

    Raises:
        RunError: another process holds the lock, or the folder cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        held = filelock.FileLock(directory / ".lock").acquire(timeout=0)
    except filelock.Timeout:
        raise RunError(
            f"{directory}: another process is training there. Wait until it ends, or name another --checkpoint_dir."
        ) from None
    except OSError as error:
        raise RunError(f"{directory}: cannot be written ({error.strerror}); name another --checkpoint_dir.") from error
    with held:
        yield


def is_resumed(config: Config, recipe: Recipe, directory: Path, data_hash: str) -> bool:
    """Returns whether there is a run to resume; one of another configuration is an error."""
    checkpoint.finish_replacement(directory)
    if not config.resume or checkpoint.latest_checkpoint(directory) is None:
        return False
    record = checkpoint.read_record(directory)
    now, then = config.identity, record["config"].identity
    different = [f"--{name} was {then[name]}, now {now[name]}" for name in now if now[name] != then[name]]
    if not different and record["recipe"] != json.loads(json.dumps(asdict(recipe))):
        different.append(f"the recipe was {record['recipe']}, now {asdict(recipe)}")
    if record["data"]["sha256"] != data_hash:
        former = f"{record['data']['images']} below {record['config'].train_dir}"
        different.append(f"the training images differ from the former ones ({former})")
    if different:
        raise RunError(
            f"{directory} holds another run: {'; '.join(different)}. Give the same flags to resume it, "
            f"--resume=False to restart in its place, --weights={directory} --resume=False to train its weights "
            "further in its place, or another --checkpoint_dir."
        )
    return True
