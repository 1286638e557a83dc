import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import synthetic_image
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

from srcnn_tf.testing.report import crop_center
from srcnn_tf.testing.tensorboard import TensorBoardLog, write_scores


def test_the_log_of_a_test_replaces_the_last_one():
    names = ["Set5", "latin-1 \udcfc"]  # a file name in another encoding than UTF-8
    for score in (30.0, 31.0):
        averages = {name: {"psnr_srcnn": score} for name in names}
        log = TensorBoardLog(Path("logs/test"))
        log.open(append=False)
        for name in names:
            log.write_image(0, f"test/{name}/baby", synthetic_image(20, 60))
        write_scores(log, averages, f"a table\n{names}")
        log.close()
        assert log.problem is None
    assert len(list(Path("logs/test").iterdir())) == 1
    log = EventAccumulator("logs/test", size_guidance={"tensors": 0}).Reload()
    tags = set(log.Tags()["tensors"])
    assert tags >= {"test/scores", "test Set5/psnr_srcnn", "test/Set5/baby", "test/latin-1 \\udcfc/baby"}
    assert tensor_util.make_ndarray(log.Tensors("test Set5/psnr_srcnn")[0].tensor_proto) == 31
    assert b"    a table\n" in log.Tensors("test/scores")[0].tensor_proto.string_val[0]


@pytest.mark.parametrize("image", [synthetic_image(20, 31), synthetic_image(20, 31)[..., 0]], ids=["RGB", "grey"])
def test_images_are_stored_as_tensorflow_stores_them(image):
    log = TensorBoardLog(Path("logs"))
    log.open(append=False)
    log.write_image(3, "ours", image)
    log.write(3, tf.summary.image, "TensorFlow's", image.reshape(1, 20, 31, -1))
    log.close()
    events = EventAccumulator("logs").Reload()
    ours, expected = events.Tensors("ours")[0], events.Tensors("TensorFlow's")[0]
    assert (ours.step, list(ours.tensor_proto.string_val[:2])) == (3, [b"31", b"20"])
    assert expected.tensor_proto.string_val[:2] == ours.tensor_proto.string_val[:2]
    for event in (ours, expected):
        (png,) = event.tensor_proto.string_val[2:]
        np.testing.assert_array_equal(Image.open(io.BytesIO(png)), image)
    metadata = [events.SummaryMetadata(tag) for tag in ("ours", "TensorFlow's")]
    assert metadata[0] == metadata[1]
    assert metadata[0].plugin_data.plugin_name == "images"


def test_only_a_new_log_deletes_event_files():
    Path("logs").mkdir()
    for name in ("events.out.tfevents.1", "notes.txt"):
        Path("logs", name).touch()
    TensorBoardLog(Path("logs")).open(append=True)
    assert Path("logs/events.out.tfevents.1").exists()
    TensorBoardLog(Path("logs")).open(append=False)
    assert not Path("logs/events.out.tfevents.1").exists()
    assert Path("logs/notes.txt").exists()


def test_a_log_that_cannot_be_written_is_reported_once(capsys):
    Path("logs").touch()
    log = TensorBoardLog(Path("logs/run"))
    log.open(append=False)
    for step in range(2):
        log.write(step, tf.summary.scalar, "loss", 1.0)
        log.write_image(step, "image", synthetic_image(5, 5))
        log.flush()
    log.close()
    assert "logs/run: the TensorBoard log cannot be written (" in log.problem
    assert capsys.readouterr().err == f"Problem: {log.problem}\n"


def test_images_are_cropped_around_their_center():
    image = np.arange(70).reshape(7, 10)
    np.testing.assert_array_equal(crop_center(image, 4), image[1:5, 3:7])
    np.testing.assert_array_equal(crop_center(image, 8), image[:, 1:9])
