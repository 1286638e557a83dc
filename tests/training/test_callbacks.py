import csv
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import synthetic_image
from networks import network
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from srcnn_tf.model import LAYERS
from srcnn_tf.spec import LUMA, ColorSpace
from srcnn_tf.testing.tensorboard import TensorBoardLog
from srcnn_tf.testing.tiling import TiledModel
from srcnn_tf.training.callbacks import HistoryFile, ProgressBar, TrainingLog, draw_filters

LOGS = {"loss": 0.0123456789, "mean_loss": 0.5, "learning_rate": 1e-3}


def begin(*callbacks):
    """Keras's list of callbacks, as the training loop calls it."""
    callback_list = keras.callbacks.CallbackList(list(callbacks))
    callback_list.on_train_begin()
    return callback_list


def test_a_log_file_has_one_line_per_epoch(capsys):
    callbacks = begin(ProgressBar(step=100, steps=300, batch_size=10, epochs=3))
    callbacks.on_train_batch_end(200, LOGS)
    callbacks.on_epoch_end(1, {"loss": 0.25, "learning_rate": 1e-3, "patches_per_second": 100.0})
    scores = {"held-out/psnr": 30.123, "held-out/ssim": 0.9, "held-out/psnr_bicubic": 27.0}
    callbacks.on_train_batch_end(300, LOGS)
    callbacks.on_epoch_end(2, {"loss": 0.2, "learning_rate": 0.0, "patches_per_second": 100.0} | scores)
    callbacks.on_train_end()
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "epoch 2/3: loss 0.250000, rate 1.0e-03, 100 patches/s, 00:10 left",
        "epoch 3/3: loss 0.200000, rate 0.0e+00, 100 patches/s, 00:00 left; validation 30.12 dB (bicubic 27.00)",
    ]
    assert output.err == ""  # the bar is for a terminal


def test_a_log_file_has_one_line_per_minute_of_a_long_epoch(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("srcnn_tf.training.callbacks.time", SimpleNamespace(monotonic=lambda: now[0]))
    callbacks = begin(ProgressBar(step=0, steps=500, batch_size=10, epochs=1))
    for step in (10, 20, 30, 40):
        now[0] += 40
        callbacks.on_train_batch_end(step, LOGS)
    # 20 steps in 80 seconds are 2.5 patches/s; 4,800 and 4,600 patches are left.
    assert capsys.readouterr().out.splitlines() == [
        "step 20/500: loss 0.500000, rate 1.0e-03, 2 patches/s, 32:00 left",
        "step 40/500: loss 0.500000, rate 1.0e-03, 2 patches/s, 30:40 left",
    ]


def test_history_keeps_the_rows_of_the_epochs_that_are_done():
    def run(epochs_done, epochs):
        log = TensorBoardLog(Path("logs"))
        log.open(append=epochs_done > 0)
        callbacks = begin(HistoryFile(log, epochs_done))
        for epoch, logs in epochs.items():
            callbacks.on_epoch_end(epoch, logs)
        assert log.problem is None
        with open("logs/history.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def logs(loss, **scores):
        return {"loss": loss, "learning_rate": 0.1} | scores

    scores = {"held-out/psnr": 30.0}
    rows = run(0, {0: logs(3.0, **scores), 1: logs(2.0, **scores), 2: logs(1.0, **scores)})
    assert [row["epoch"] + row["loss"] + row["held-out/psnr"] for row in rows] == ["13.030.0", "22.030.0", "31.030.0"]
    # Killed in the third epoch, which is trained again; its validation image is gone.
    rows = run(2, {2: logs(1.5)})
    assert [row["epoch"] + row["loss"] + row["held-out/psnr"] for row in rows] == ["13.030.0", "22.030.0", "31.5"]
    # A new run in the same folder has columns of its own.
    assert run(0, {0: logs(5.0)}) == [{"epoch": "1", "loss": "5.0", "learning_rate": "0.1"}]


def preview(rows, cols):
    """A degraded and an original image with luma alone."""
    original = synthetic_image(rows, cols)[..., :1] / 255
    return original / 2, original


def test_training_log_has_curves_images_filters_weights_configuration_and_graph():
    log = TensorBoardLog(Path("logs/run"))
    log.open(append=False)
    callbacks = begin(
        TrainingLog(log, TiledModel(network(initialization="he")), preview(300, 290), 120, "| seed | 7 |", LUMA)
    )
    for epoch in range(4):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_train_batch_end(10 * epoch + 10, LOGS | {"mean_loss": 0.5 / (epoch + 1)})
        callbacks.on_epoch_end(epoch, {"loss": 0.25, "patches_per_second": 100.0, "held-out/psnr": 20.0 + epoch})
    callbacks.on_train_end()
    assert log.problem is None
    accumulator = EventAccumulator("logs/run", size_guidance={"tensors": 0}).Reload()
    events = {tag: accumulator.Tensors(tag) for tag in accumulator.Tags()["tensors"]}

    def scalars(tag):
        return {event.step: float(tensor_util.make_ndarray(event.tensor_proto)) for event in events[tag]}

    assert scalars("training/loss") == pytest.approx({10: 0.5, 20: 0.25, 30: 0.5 / 3, 40: 0.125})
    assert scalars("held-out/psnr") == {1: 20, 2: 21, 3: 22, 4: 23}
    assert events.keys() >= {"training/learning_rate", "epoch/patches_per_second", "epoch/loss"}
    shown = [f"{layer}/{name}" for layer in LAYERS for name in ("kernel", "bias")]
    for tag in ("bicubic | SRCNN | original", "first-layer filters", *shown):
        assert [event.step for event in events[tag]] == [1, 2, 4]  # the first, and every second of 120 epochs
    width, height, *_ = events["bicubic | SRCNN | original"][0].tensor_proto.string_val
    assert (int(width), int(height)) == (3 * 240, 240)
    (text,) = events["configuration"]
    assert b"| seed | 7 |" in text.tensor_proto.string_val[0]
    assert any("patch_extraction" in node.name for node in accumulator.Graph().node)


def test_filters_are_ordered_by_variance():
    model = network()
    kernel = np.zeros((9, 9, 1, 64), np.float32)
    kernel[2, 3, 0, 5], kernel[4, 4, 0, 9] = 1.0, 2.0
    model.get_layer("patch_extraction").set_weights([kernel, np.zeros(64)])
    image = draw_filters(model, LUMA)[::4, ::4]  # a weight is 2 x 2 pixels of these
    assert image.shape == (8 * 10 * 2, 8 * 10 * 2)
    first, second = image[:18, :18], image[:18, 20:38]
    assert (first[8:10, 8:10] == 255).all()
    assert first.sum() == 4 * 255
    assert (second[4:6, 6:8] == 255).all()


def test_filters_of_an_rgb_network_are_their_response_to_grey():
    grey, color = network(), network(c_dim=3)
    kernel = color.get_layer("patch_extraction").kernel.numpy()
    grey.get_layer("patch_extraction").kernel.assign(kernel.sum(axis=2, keepdims=True))
    np.testing.assert_array_equal(draw_filters(color, ColorSpace("rgb")), draw_filters(grey, LUMA))
