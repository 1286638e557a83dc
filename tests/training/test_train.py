import contextlib
import csv
import dataclasses
import json
import math
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import full_disk
from networks import find
from PIL import Image

from srcnn_tf import patch_file, utils
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError, StoppedError
from srcnn_tf.images.metrics import score_channels
from srcnn_tf.images.read import read_image
from srcnn_tf.spec import LUMA
from srcnn_tf.testing.tiling import TiledModel
from srcnn_tf.training import patches, run, train
from srcnn_tf.training.checkpoint import latest_checkpoint
from srcnn_tf.training.recipes import RECIPES
from srcnn_tf.training.step import create_state
from srcnn_tf.utils import preprocess

RUN = Path("checkpoint/srcnn_21_x3_scipy")
SGD = dataclasses.replace(RECIPES["modern"], optimizer="sgd")  # compiles faster, where the optimizer does not matter


class Recorder(keras.callbacks.Callback):
    """Keeps what training reports; may call a function of the model at a step."""

    def __init__(self, at=None, action=None):
        super().__init__()
        self.at, self.action = at, action
        self.steps, self.losses, self.rates, self.epochs = [], [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(batch)
        self.losses.append(float(logs["loss"]))
        self.rates.append(float(logs["learning_rate"]))
        if batch == self.at:
            self.action(self.model)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, dict(logs)))


def reference(epoch, **changes):
    """A configuration of the recipe that compiles fastest, for what does not depend on the recipe."""
    return Config(**{"recipe": "reference", "batch_size": 3, "epoch": epoch} | changes)


def interrupt(model, number=signal.SIGINT):
    signal.raise_signal(number)


def stop_training(model):
    model.stop_training = True


def make_nan(model):
    model.set_weights([np.nan * values for values in model.get_weights()])


@pytest.fixture
def images(make_image):
    """Three images of four patches each."""
    for number in range(3):
        make_image(f"Train/{number}.png", seed=number)


def weights(folder=RUN, **flags):
    return find(Config(weights=str(folder), **flags))[0].get_weights()


def assert_equal_weights(actual, expected, tolerance=0.0):
    for values, others in zip(actual, expected, strict=True):
        np.testing.assert_allclose(values, others, rtol=0, atol=tolerance)


def record():
    return json.loads((RUN / "config.json").read_text())


def history(folder="logs/srcnn_21_x3_scipy"):
    with open(f"{folder}/history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("images")
def test_recipe_paper_is_the_authors_solver():
    network = {"degradation": "matlab", "architecture": "9-3-5"}
    config = Config(recipe="paper", epoch=4, batch_size=12, precision="float32", **network)
    model = create_state(config, RECIPES["paper"]).model
    start = model.get_weights()
    train.train(config)
    data, label = utils.read_data("checkpoint/train.h5")
    # Caffe's EuclideanLoss: half the sum of squares, per patch. Rates as printed, biases' as in the solver.
    rates = [1e-4, 1e-5, 1e-4, 1e-5, 1e-5, 1e-5]
    momentum = [0.0] * 6
    for _ in range(4):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model(data) - label)) / (2 * len(data))
        gradients = tape.gradient(loss, model.trainable_variables)
        for number, (rate, gradient) in enumerate(zip(rates, gradients, strict=True)):
            momentum[number] = 0.9 * momentum[number] + rate * gradient
            model.trainable_variables[number].assign_sub(momentum[number])
    trained = find(Config(**network))[0].get_weights()
    for values, others, before in zip(trained, model.get_weights(), start, strict=True):
        np.testing.assert_allclose(values - before, others - before, rtol=1e-3, atol=1e-7)


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(("start", "part"), [("he", 0.1), ("identity", 0.75)])
def test_recipe_modern_overfits_a_small_set(start, part):
    seen = Recorder()
    train.train(Config(epoch=60, seed=3), [seen], dataclasses.replace(RECIPES["modern"], initialization=start))
    assert seen.steps[-1] == 60  # one batch of all 12 per epoch
    # From the identity, the first loss is about that of the degraded patches, and most of it is noise in the images.
    assert np.mean(seen.losses[-5:]) < part * seen.losses[0]
    assert max(seen.rates) == pytest.approx(Config().learning_rate, rel=0.05)
    assert seen.rates[0] < 0.2 * max(seen.rates)
    assert seen.rates[-1] < 1e-3 * max(seen.rates)


@pytest.mark.usefixtures("images")
def test_a_recipe_may_be_given_as_a_value():
    train.train(reference(1))
    config = Config(epoch=1, batch_size=3, learning_rate=1e-4, precision="float32", checkpoint_dir="other")
    train.train(config, recipe=RECIPES["reference"])
    assert_equal_weights(weights("other/srcnn_21_x3_scipy"), weights())


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("changes", "run"),
    [
        ({"architecture": "9-5-5", "c_dim": 3}, "srcnn_17_x3_scipy_9-5-5_ycbcr"),
        ({"architecture": "11-1-7", "c_dim": 3, "color_space": "rgb"}, "srcnn_17_x3_scipy_11-1-7_rgb"),
        ({"architecture": "9-3-5", "filters": "32,16", "scale": 2}, "srcnn_19_x2_scipy_9-3-5_32-16"),
    ],
)
def test_every_architecture_and_colour_is_trained_and_found_again(changes, run):
    train.train(reference(1, **changes))
    assert find(Config(**changes))[1] == f"checkpoint/{run}/SRCNN.weights.h5"
    with pytest.raises(RunError, match="weights of another architecture"):
        find(Config(weights=f"checkpoint/{run}"))


def test_each_image_is_decoded_once_and_each_epoch_is_validated(make_image, monkeypatch):
    for number in range(20):
        make_image(f"Train/{number:02d}.png", seed=number)
    decoded = []
    monkeypatch.setattr(utils, "read_image", lambda path, *given: decoded.append(path) or read_image(path, *given))
    seen = Recorder()
    train.train(Config(epoch=3), [seen], SGD)
    assert sorted(decoded) == utils.prepare_data("Train")
    rows = history()
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert [epoch for epoch, _ in seen.epochs] == [0, 1, 2]
    for row, (_, logs) in zip(rows, seen.epochs, strict=True):
        assert row.keys() == {"epoch"} | logs.keys()
        assert {"loss", "learning_rate", "patches_per_second", "seconds", "held-out/psnr"} <= logs.keys()
        assert all(float(row[name]) == pytest.approx(logs[name]) for name in logs)
    # What is validated is what is saved.
    degraded, original = utils.preprocess(read_image("Train/10.png"), Config())
    restored = score_channels(TiledModel(find(Config())[0])(degraded), original, 3, LUMA)
    assert logs["held-out/psnr"] == pytest.approx(restored.psnr, abs=1e-3)
    assert logs["held-out/ssim"] == pytest.approx(restored.ssim, abs=1e-4)
    assert logs["held-out/psnr_bicubic"] == pytest.approx(score_channels(degraded, original, 3, LUMA).psnr)


def test_a_validation_image_that_vanishes_leaves_its_columns_empty(make_image, monkeypatch):
    monkeypatch.setattr(utils, "MAX_PATCH_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(run, "VALIDATION_BYTES", 0)  # else it is degraded once, and its file not needed any more
    for number in range(20):
        make_image(f"Train/{number:02d}.png", seed=number)

    class Vanish(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                Path("Train/10.png").unlink()

    train.train(reference(2, validation_split=0.05), [Vanish()])
    first, second = history()
    assert float(first["held-out/psnr"]) > 0
    assert second["held-out/psnr"] == ""
    assert float(second["loss"]) > 0


def test_what_a_gpu_gets_learns_the_same(make_image, monkeypatch):
    """Whole batches, XLA, many steps per call: as in parts on a processor, within rounding."""
    for number in range(6):
        make_image(f"Train/{number}.png", rows=75, cols=75, seed=number)
    config = Config(epoch=3, batch_size=4, precision="float32", filters="8,4", seed=2)
    seen, expected = Recorder(), Recorder()
    train.train(dataclasses.replace(config, checkpoint_dir="processor"), [expected], SGD)
    for module in ("step", "train"):  # all is decided as on a GPU, and computed on the processor
        monkeypatch.setattr(f"srcnn_tf.training.{module}.has_gpu", lambda: True)
    train.train(config, [seen], SGD)
    assert len(seen.steps) == 3 < len(expected.steps)  # a call per epoch
    for (_, logs), (_, others) in zip(seen.epochs, expected.epochs, strict=True):
        assert logs["loss"] == pytest.approx(others["loss"], rel=0.01)


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("recipe", "in_memory", "degradation"),
    [("modern", False, "scipy"), ("reference", False, "scipy"), ("paper", True, "scipy"), ("modern", True, "jpeg")],
)
def test_a_stopped_run_resumes_as_if_it_had_not_been_stopped(recipe, in_memory, degradation, monkeypatch, capsys):
    if not in_memory:
        monkeypatch.setattr(utils, "MAX_PATCH_BYTES_IN_MEMORY", 0)
        monkeypatch.setattr(patches, "SHARD_BYTES", 6 * patch_file.patch_bytes(Config()))

    def config(folder):
        return Config(
            recipe=recipe, epoch=5, batch_size=3, learning_rate=1e-3, degradation=degradation, checkpoint_dir=folder
        )

    train.train(config("whole"))
    assert "Starting at step 0 of 20" in capsys.readouterr().out
    number = signal.SIGINT if in_memory else signal.SIGTERM
    handler = signal.getsignal(number)
    stop = Recorder(at=10, action=lambda model: interrupt(model, number))
    message = rf"Stopped by {number.name}; the newest checkpoint is of step 10 of 20\. The same command .*--epoch=5"
    with pytest.raises(StoppedError, match=message):
        train.train(config("parts"), [stop])
    assert stop.steps[-1] == 10
    if recipe != "modern":
        kill = Recorder(at=16, action=lambda model: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train.train(config("parts"), [kill])
    seen = Recorder()
    train.train(config("parts"), [seen])
    assert 10 < seen.steps[0] < seen.steps[-1] == 20
    assert capsys.readouterr().out.count("Resuming from step 10 of 20") == (1 if recipe == "modern" else 2)
    run = f"srcnn_21_x3_{degradation}"
    assert [row["epoch"] for row in history(f"logs/{run}")] == ["1", "2", "3", "4", "5"]
    parts, whole = (weights(f"{folder}/{run}", degradation=degradation) for folder in ("parts", "whole"))
    assert_equal_weights(parts, whole)
    assert signal.getsignal(number) is handler


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(("at", "action"), [(8, interrupt), (12, interrupt), (8, stop_training)])
def test_stopped_with_the_last_step_of_an_epoch_it_is_validated_and_saved(at, action, capsys):
    stopped, seen = (at, action) == (8, interrupt), Recorder(at, action)
    with pytest.raises(StoppedError, match="of step 8 of 12") if stopped else contextlib.nullcontext():
        train.train(reference(3), [seen])
    assert seen.steps[-1] == at
    assert len(history()) == at // 4
    assert latest_checkpoint(RUN).name == f"SRCNN.model-{at}"
    assert (f"Done: {at} steps" in capsys.readouterr().out) == (not stopped)


@pytest.mark.usefixtures("images")
def test_a_longer_run_resumes_a_finished_one_and_may_be_stopped_too(capsys):
    def config(folder, epoch):
        return Config(epoch=epoch, batch_size=3, checkpoint_dir=folder)

    train.train(config("whole", 3), recipe=SGD)
    shutil.copytree("whole", "parts")
    before, seen = weights("whole/srcnn_21_x3_scipy"), Recorder()
    for epoch in (3, 2):
        train.train(config("whole", epoch), [seen], SGD)
        message = "is finished: 3 epochs, 12 steps. A larger --epoch resumes it; --resume=False restarts it."
        assert message in capsys.readouterr().out
    assert seen.steps == []
    assert_equal_weights(weights("whole/srcnn_21_x3_scipy"), before)
    message = "The run had 3 epochs, now it has 6: the learning rate warms up from 0.0e+00 to the schedule"
    train.train(config("whole", 6), [seen], SGD)
    assert 12 < seen.steps[0] < seen.steps[-1] == 24
    assert message in capsys.readouterr().out
    with pytest.raises(StoppedError):
        train.train(config("parts", 6), [Recorder(at=20, action=interrupt)], SGD)
    assert message in capsys.readouterr().out
    train.train(config("parts", 6), recipe=SGD)
    assert message not in capsys.readouterr().out
    assert_equal_weights(weights("parts/srcnn_21_x3_scipy"), weights("whole/srcnn_21_x3_scipy"))


@pytest.mark.usefixtures("images")
def test_another_configuration_or_other_images_are_refused_before_anything_is_written(make_image):
    train.train(reference(1))
    before, stamp = weights(), Path("checkpoint/train.h5").stat().st_mtime_ns
    for changes, message in (
        ({"recipe": "paper"}, "--recipe was reference, now paper"),
        ({"value_range": "0,4095"}, "--value_range was None, now 0,4095"),
        ({"seed": 1, "stride": 10}, "holds another run: --stride was 14, now 10; --seed was 0, now 1. Give the same"),
        ({"weights": "given"}, "--weights was None, now given"),
    ):
        with pytest.raises(RunError, match=re.escape(message) + ".*--resume=False to restart in its place"):
            train.train(reference(3, **changes))
    make_image("Train/new.png", seed=8)
    with pytest.raises(RunError, match=r"the training images differ from the former ones \(3 below Train\)") as refused:
        train.train(reference(3))
    assert f"--weights={RUN} --resume=False to train its weights further in its place" in str(refused.value)
    assert Path("checkpoint/train.h5").stat().st_mtime_ns == stamp
    assert_equal_weights(weights(), before)
    # That command works in the same folder, and its repetition without `resume` too.
    further = {"weights": str(RUN), "learning_rate": 1e-12}
    for epoch, resume in ((1, False), (2, True)):
        train.train(reference(epoch, resume=resume, **further))
        assert_equal_weights(weights(), before, 1e-6)
    assert (record()["data"]["images"], record()["step"]) == (4, 10)
    train.train(reference(1, resume=False))
    assert record()["data"].keys() == {"sha256", "images", "patches"}
    assert (record()["data"]["images"], record()["data"]["patches"]) == (4, 16)


@pytest.mark.usefixtures("images")
def test_a_run_killed_before_its_weights_were_written_writes_them_the_next_time(monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run, "save_model", killed)
        with pytest.raises(KeyboardInterrupt):
            train.train(reference(2))
    assert not (RUN / "SRCNN.weights.h5").exists()
    train.train(reference(2))
    assert len(weights()) == 6
    assert record()["step"] == record()["steps"] == 8


@pytest.mark.usefixtures("images")
def test_a_former_run_stays_until_the_new_one_has_something_and_then_nothing_is_left_of_it():
    train.train(reference(3))
    before = weights()
    crash = Recorder(at=4, action=lambda model: (_ for _ in ()).throw(RuntimeError("a crash")))
    with pytest.raises(RuntimeError, match="a crash"):
        train.train(reference(5, resume=False), [crash])
    assert_equal_weights(weights(), before)
    train.train(reference(2, resume=False, seed=5))
    assert [path.name for path in RUN.glob("*.index")] == ["SRCNN.model-8.index"]
    assert len(list(Path("logs/srcnn_21_x3_scipy").glob("events*"))) == 1
    assert [row["epoch"] for row in history()] == ["1", "2"]


@pytest.mark.usefixtures("images")
def test_weights_to_start_from_are_needed_at_the_start_only(golden):
    with pytest.raises(RunError, match="--weights=nowhere: there is no such file"):
        train.train(reference(1, weights="nowhere"))
    assert [path.name for path in Path("checkpoint").iterdir() if path.name[0] != "."] == []
    shutil.copytree(golden / "checkpoint" / "srcnn_21", "start")
    train.train(reference(1, weights="start/SRCNN.model-500", learning_rate=1e-12))
    assert_equal_weights(weights(), weights("start/SRCNN.model-500"), 1e-6)
    shutil.rmtree("start")
    train.train(reference(2, weights="start/SRCNN.model-500", learning_rate=1e-12))
    assert record()["step"] == 8


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"batch_size": 1}, 10),
        ({"epoch": 40, "learning_rate": 1e4}, None),
        ({"epoch": 40, "learning_rate": 1e6, "recipe": "modern"}, None),  # the optimizer's state before the weights
    ],
)
def test_weights_that_become_nan_stop_the_run_and_are_never_saved(changes, at, monkeypatch):
    monkeypatch.setattr(train, "SAVE_EVERY", 500 if at else 10)
    message = r"became infinite or NaN .*the learning rate is too high.* no checkpoint was written.*--resume=False"
    with pytest.raises(RunError, match=message):
        train.train(reference(**{"epoch": 1} | changes), [Recorder(at, make_nan)])
    assert not RUN.exists()


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("recipe", [SGD, RECIPES["reference"]], ids=["modern", "reference"])
def test_weights_that_become_nan_later_keep_the_last_good_checkpoint(recipe, monkeypatch):
    monkeypatch.setattr(train, "SAVE_EVERY", 10)
    config = reference(3, batch_size=1, learning_rate=1e-4)
    message = rf"became infinite or NaN .*the last checkpoint is {RUN}/SRCNN\.model-20\. Restart .*--resume=False"
    with pytest.raises(RunError, match=message):
        train.train(config, [Recorder(30, make_nan)], recipe)
    assert latest_checkpoint(RUN).name == "SRCNN.model-20"
    assert all(np.isfinite(values).all() for values in weights())
    train.train(config, recipe=recipe)  # from which the run can be completed
    assert all(np.isfinite(values).all() for values in weights())
    assert record()["step"] == 36


@pytest.mark.linux
@pytest.mark.usefixtures("images")
def test_a_second_process_in_the_same_folder_is_refused_until_the_first_is_dead():
    Path("checkpoint").mkdir()
    # As `train.lock`, without loading TensorFlow.
    program = "import filelock, time\nwith filelock.FileLock('checkpoint/.lock'): print(flush=True); time.sleep(120)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"\n"
        message = "^checkpoint: another process is training there. Wait until it ends, or name another --checkpoint_dir"
        with pytest.raises(RunError, match=message):
            train.train(reference(1))
        train.train(reference(1, checkpoint_dir="other"))
        process.kill()
    train.train(reference(1))
    assert record()["step"] == 4


@pytest.mark.linux
@pytest.mark.usefixtures("images")
def test_a_full_disk_leaves_no_partial_file_and_of_a_log_costs_the_log_alone(capsys):
    config = reference(1, batch_size=12, architecture="9-5-5", filters="128,64")  # checkpoints exceed train.h5
    directory = Path("checkpoint", config.run_name)
    Path("file").touch()
    with pytest.raises(RunError, match=r"file/below: cannot be written \(Not a directory\); name another"):
        train.train(reference(1, checkpoint_dir="file/below"))
    checkpoint = f"{directory}/SRCNN.model-1: cannot be written .*the former checkpoints are kept"
    for size, message in ((50_000, "checkpoint/train.h5: cannot be written"), (700_000, checkpoint)):
        with full_disk(size), pytest.raises(RunError, match=f"^{message}"):
            train.train(config)
        left = [path for path in Path("checkpoint").rglob("*") if path.is_file()]
        assert {path.name for path in left} <= {".lock", "train.h5"}
        capsys.readouterr()
    with full_disk(600_000), pytest.raises(RunError, match="complete, but its log could not be written"):
        train.train(reference(30, batch_size=12))
    output = capsys.readouterr()
    assert "Done: 30 steps" in output.out
    assert output.err.startswith(f"Problem: logs/{RUN.name}: the TensorBoard log cannot be written")
    assert output.err.count("\n") == 1


def test_validation_images_are_degraded_once_as_far_as_they_fit_in_memory(make_image, monkeypatch):
    for number in range(40):
        make_image(f"Train/{number:02d}.png", 36, 36, seed=number)
    degraded = []
    monkeypatch.setattr(run, "preprocess", lambda *args, **options: degraded.append(1) or preprocess(*args, **options))
    seen = Recorder()
    for folder, limit, count in (("all", 2**28, 2), ("one", 36 * 36 * 8 * 3, 1 + 2)):
        monkeypatch.setattr(run, "VALIDATION_BYTES", limit)
        degraded.clear()
        flags = {"filters": "4,2", "batch_size": 38, "validation_split": 0.05, "checkpoint_dir": folder}
        train.train(reference(2, **flags), [seen])
        assert len(degraded) == count
    scores = [logs["held-out/psnr"] for _, logs in seen.epochs]
    assert scores[:2] == scores[2:]


def test_a_validation_image_of_infinite_psnr_is_left_out_with_a_note(make_image, capsys):
    for number in range(40):
        make_image(f"Train/{number:02d}.png", 60, 60, seed=number)
    Image.fromarray(np.zeros((60, 60), np.uint8)).save("Train/10.png")  # one of the two that are set aside
    train.train(Config(recipe="reference", epoch=2, validation_split=0.05, filters="4,2", batch_size=8))
    rows = list(csv.DictReader(Path("logs/srcnn_21_x3_scipy_4-2/history.csv").read_text().splitlines()))
    assert all(math.isfinite(float(row["held-out/psnr_bicubic"])) for row in rows)
    assert len(rows) == 2
    assert capsys.readouterr().out.count("Left out of the validation's means: 1 images with infinite PSNR.") == 1


@pytest.mark.linux
def test_a_run_resumes_in_a_folder_whose_name_is_a_pattern(make_image, capsys):
    make_image("Train/a.png", 60, 60)
    for epoch in (1, 2):
        train.train(reference(epoch, batch_size=4, checkpoint_dir="runs [x3]*"))
    assert "Resuming from step" in capsys.readouterr().out
