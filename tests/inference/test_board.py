from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import drawn
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.inference import board
from srcnn_tf.inference.tiling import Reconstructor
from srcnn_tf.model import srcnn


def logged(directory):
    """What a log's folder holds, as TensorBoard reads it."""
    log = EventAccumulator(str(directory), size_guidance={"tensors": 0})
    log.Reload()
    return log


def value(event):
    return float(tensor_util.make_ndarray(event.tensor_proto))


@pytest.fixture
def trained():
    model = srcnn(initialization="he")
    preview = utils.degraded_pair(drawn(300, 290), 3)
    log = board.Log(Path("logs/run"))
    log.open(anew=True)
    told = board.Board(log, Reconstructor(model), preview, config=Config(epoch=120), configuration="| seed | 7 |")
    callbacks = keras.callbacks.CallbackList([told], model=model)
    callbacks.on_train_begin()
    for epoch in range(4):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_train_batch_end(
            10 * epoch + 10, {"loss": 9.0, "mean_loss": 0.5 / (epoch + 1), "learning_rate": 0.1}
        )
        callbacks.on_epoch_end(epoch, {"loss": 0.25, "patches_per_second": 100.0, "held-out/psnr": 20.0 + epoch})
    callbacks.on_train_end()
    return logged("logs/run")


def test_curves_are_by_step_and_by_epoch(trained):
    loss = [(event.step, value(event)) for event in trained.Tensors("training/loss")]
    assert loss == [(10, 0.5), (20, 0.25), (30, pytest.approx(0.5 / 3)), (40, 0.125)]
    psnr = trained.Tensors("held-out/psnr")
    assert [event.step for event in psnr] == [1, 2, 3, 4]
    names = set(trained.Tags()["tensors"])
    assert {"training/learning_rate", "epoch/patches_per_second", "epoch/loss"} <= names


def test_pictures_filters_and_weights_are_shown_now_and_then(trained):
    names = set(trained.Tags()["tensors"])
    for layer in ("patch_extraction", "nonlinear_mapping", "reconstruction"):
        assert {f"{layer}/kernel", f"{layer}/bias"} <= names
    pictures = trained.Tensors("bicubic | SRCNN | original")
    assert [event.step for event in pictures] == [1, 2, 4]  # every second of 120 epochs, and the first
    width, height, *_ = pictures[0].tensor_proto.string_val
    assert (int(width), int(height)) == (3 * 240, 240)
    assert len(trained.Tensors("first-layer filters")) == 3


def test_configuration_and_graph_are_shown(trained):
    (text,) = trained.Tensors("configuration")
    assert b"| seed | 7 |" in text.tensor_proto.string_val[0]
    assert trained.Tags()["graph"]
    assert any("patch_extraction" in node.name for node in trained.Graph().node)


def test_filters_are_drawn_strongest_first():
    model = srcnn()
    kernel = np.zeros((9, 9, 1, 64), np.float32)
    kernel[2, 3, 0, 5], kernel[4, 4, 0, 9] = 1.0, 2.0
    model.get_layer("patch_extraction").set_weights([kernel, np.zeros(64)])
    picture = board.filters_picture(model, magnification=2)
    assert picture.shape == (8 * 10 * 2, 8 * 10 * 2)
    first, second = picture[:18, :18], picture[:18, 20:38]
    assert (first[8:10, 8:10] == 255).all()
    assert first.sum() == 4 * 255
    assert (second[4:6, 6:8] == 255).all()


def test_filters_of_an_rgb_network_are_what_grey_meets():
    grey, colour = srcnn(), srcnn(c_dim=3)
    kernel = colour.get_layer("patch_extraction").kernel.numpy()
    grey.get_layer("patch_extraction").kernel.assign(kernel.sum(axis=2, keepdims=True))
    np.testing.assert_array_equal(board.filters_picture(colour, rgb=True), board.filters_picture(grey))


def test_a_test_is_logged_in_place_of_the_last_one():
    picture = drawn(20, 60)
    for score in (30.0, 31.0):
        board.write_test(Path("logs/test"), [("Set5", {"psnr_srcnn": score})], "a table", {"Set5/baby": picture})
    assert len(list(Path("logs/test").iterdir())) == 1
    log = logged("logs/test")
    assert {"test/scores", "test Set5/psnr_srcnn", "test/Set5/baby"} <= set(log.Tags()["tensors"])
    assert value(log.Tensors("test Set5/psnr_srcnn")[0]) == 31


def test_only_a_new_log_deletes_the_old_ones():
    Path("logs").mkdir()
    for name in ("events.out.tfevents.1", "notes.txt"):
        Path("logs", name).touch()
    board.Log(Path("logs")).open(anew=False)
    assert Path("logs/events.out.tfevents.1").exists()
    board.Log(Path("logs")).open(anew=True)
    assert not Path("logs/events.out.tfevents.1").exists()
    assert Path("logs/notes.txt").exists()


def test_a_log_that_cannot_be_written_is_said_once_and_stops_nothing(capsys):
    Path("logs").touch()
    log = board.Log(Path("logs/run"))
    log.open(anew=True)
    told = board.Board(
        log, Reconstructor(srcnn()), utils.degraded_pair(drawn(30, 30), 3), config=Config(epoch=2), configuration=""
    )
    told.on_train_begin()
    for epoch in range(2):
        told.on_train_batch_end(epoch, {"mean_loss": 1.0, "learning_rate": 1.0})
        told.on_epoch_end(epoch, {"loss": 1.0})
    told.on_train_end()
    assert "logs/run: the log cannot be written (" in log.problem
    assert capsys.readouterr().err == f"Problem: {log.problem}\n"
