from types import SimpleNamespace

import keras

from srcnn_tf.training.progress import ProgressBar, ReferenceLines

LOGS = {"loss": 0.0123456789, "mean_loss": 0.5, "learning_rate": 1e-3}


def test_reference_lines_are_every_ten_steps(capsys):
    told = keras.callbacks.CallbackList([ReferenceLines()])
    told.on_train_begin()
    told.on_epoch_begin(1)
    for step in (9, 10, 17, 20):
        told.on_train_batch_end(step, LOGS)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("Epoch: [ 2], step: [10], time: [0.")
    assert first.endswith("], loss: [0.01234568]")
    assert "step: [20]" in second


def test_a_line_an_epoch_says_all_in_a_log_file(capsys):
    told = keras.callbacks.CallbackList([ProgressBar(step=100, steps=300, batch_size=10, epochs=3)])
    told.on_train_begin()
    told.on_train_batch_end(200, LOGS)
    told.on_epoch_end(1, {"loss": 0.25, "learning_rate": 1e-3, "patches_per_second": 100.0})
    measured = {"held-out/psnr": 30.123, "held-out/ssim": 0.9, "held-out/psnr_bicubic": 27.0}
    told.on_train_batch_end(300, LOGS)
    told.on_epoch_end(2, {"loss": 0.2, "learning_rate": 0.0, "patches_per_second": 100.0} | measured)
    told.on_train_end()
    output = capsys.readouterr()
    assert output.out.splitlines() == [
        "epoch 2/3: loss 0.250000, rate 1.0e-03, 100 patches/s, 00:10 left",
        "epoch 3/3: loss 0.200000, rate 0.0e+00, 100 patches/s, 00:00 left; held out 30.12 dB (bicubic 27.00)",
    ]
    assert output.err == ""  # the bar is for a terminal


def test_a_long_epoch_says_something_each_minute_in_a_log_file(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("srcnn_tf.training.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    told = keras.callbacks.CallbackList([ProgressBar(step=0, steps=500, batch_size=10, epochs=1)])
    told.on_train_begin()
    for step in (10, 20, 30, 40):
        now[0] += 40
        told.on_train_batch_end(step, LOGS)
    # 20 steps in 80 seconds are 2.5 patches/s; 4,800 and 4,600 patches are left.
    assert capsys.readouterr().out.splitlines() == [
        "step 20/500: loss 0.500000, rate 1.0e-03, 2 patches/s, 32:00 left",
        "step 40/500: loss 0.500000, rate 1.0e-03, 2 patches/s, 30:40 left",
    ]
