"""Training speed and time to a PSNR, next to Keras, PyTorch and the reference's way, in turns on one machine.

    python -m benchmarks.train --train_dir=Train/T91 --test_dir=Test/Set5 --turns=2

Network 9-1-5, x3, batches of 128. srcnn_tf runs the whole program: shuffling, augmentation, SOAP, checkpoints,
validation and TensorBoard. The others are plain loops over the same patches in memory, without validation. Each runs in
a process of its own. Medians of the turns, as Markdown with one row per program:

    | | patches/s | relative to the reference |
    | | to 27.956 dB | to 29.9 dB |

docs/benchmarks.md has the first table. The second one is printed with `--test_dir` only. PSNR is the
average over its images. Validation time is not counted for the others; for srcnn_tf it is the whole command.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import ROOT, load_patches, report_errors, run_python
from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import find_images
from srcnn_tf.errors import RunError
from srcnn_tf.images import metrics
from srcnn_tf.images.color import to_uint8

BATCH = 128
WARM_UP, STEPS = 20, 300  # steps before the measurement, and measured ones
# dB on Set5: the score of the reference's published weights, and nearly two more. One epoch of ours exceeds both.
TARGETS = (27.956, 29.9)
VALIDATE_EVERY = 40  # steps
PATIENCE = 60.0  # seconds

Images = NDArray[np.float32]
Predict = Callable[[Images], Images]  # (1, rows, cols, 1) to (1, rows - 12, cols - 12, 1)
AfterStep = Callable[[Predict], None]


class EnoughError(Exception):
    """Ends a training from within."""


# --- The others: each trains until `after_step` raises `EnoughError` ---


def reference(data: Images, label: Images, after_step: AfterStep) -> None:
    """Trains the reference's way: a TensorFlow 1 graph, placeholders fed from NumPy, gradient descent, in order."""
    import tensorflow.compat.v1 as tf

    tf.disable_eager_execution()
    images = tf.placeholder(tf.float32, [None, None, None, 1])
    labels = tf.placeholder(tf.float32, [None, 21, 21, 1])
    features = images
    for number, shape in enumerate([(9, 9, 1, 64), (1, 1, 64, 32), (5, 5, 32, 1)]):
        kernel = tf.Variable(tf.random_normal(shape, stddev=1e-3))
        features = tf.nn.conv2d(features, kernel, [1, 1, 1, 1], "VALID") + tf.Variable(tf.zeros(shape[-1:]))
        features = tf.nn.relu(features) if number < 2 else features
    loss = tf.reduce_mean(tf.square(labels - features))
    update = tf.train.GradientDescentOptimizer(1e-4).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        while True:
            for begin in range(0, len(data) - BATCH + 1, BATCH):
                batch = slice(begin, begin + BATCH)
                session.run([update, loss], {images: data[batch], labels: label[batch]})
                after_step(lambda image: session.run(features, {images: image}))


def keras_fit(data: Images, label: Images, after_step: AfterStep) -> None:
    """Trains with Keras's `fit` and Adam on arrays in memory, shuffled, otherwise its defaults."""
    import keras

    from srcnn_tf.model import build_model
    from srcnn_tf.spec import NetworkSpec

    class AfterBatch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            after_step(lambda image: np.asarray(model(image)))

    model = build_model(NetworkSpec(), initialization="he")
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    model.fit(data, label, batch_size=BATCH, epochs=1000, verbose=0, callbacks=[AfterBatch()])


def pytorch(compiled: bool) -> Callable[[Images, Images, AfterStep], None]:
    """Returns a training with PyTorch and Adam, shuffled, eager or with `torch.compile`."""

    def train(data: Images, label: Images, after_step: AfterStep) -> None:
        import torch
        from torch import nn

        images, labels = (torch.from_numpy(array.transpose(0, 3, 1, 2).copy()) for array in (data, label))
        layers = [nn.Conv2d(1, 64, 9), nn.ReLU(), nn.Conv2d(64, 32, 1), nn.ReLU(), nn.Conv2d(32, 1, 5)]
        model = nn.Sequential(*layers)
        for number in (0, 2):
            nn.init.kaiming_normal_(layers[number].weight, nonlinearity="relu")
        nn.init.normal_(layers[4].weight, std=1e-3)
        for number in (0, 2, 4):
            nn.init.zeros_(layers[number].bias)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        run = torch.compile(model) if compiled else model

        def predict(image: Images) -> Images:
            with torch.no_grad():
                return model(torch.from_numpy(image.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)

        while True:
            for batch in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
                optimizer.zero_grad()
                nn.functional.mse_loss(run(images[batch]), labels[batch]).backward()
                optimizer.step()
                after_step(predict)

    return train


OTHERS = {
    "the reference (TensorFlow 1 graph, feed_dict, SGD)": reference,
    "Keras fit, Adam": keras_fit,
    "PyTorch eager, Adam": pytorch(compiled=False),
    "PyTorch torch.compile, Adam": pytorch(compiled=True),
}
OURS = {"srcnn_tf, defaults": "float32", "srcnn_tf, `--precision=bfloat16`": "bfloat16"}


# --- Measurements, each in a process of its own ---


def train_other(name: str, train_dir: str, after_step: AfterStep) -> None:
    """Trains until `after_step` raises `EnoughError`."""
    config = Config(train_dir=train_dir)
    with contextlib.suppress(EnoughError):
        OTHERS[name](*load_patches(find_images(config, "train_dir"), config), after_step)


def speed_of_other(name: str, train_dir: str) -> float:
    """Returns patches per second."""
    times: list[float] = []

    def after_step(predict: Predict) -> None:
        times.append(time.perf_counter())
        if len(times) == WARM_UP + STEPS:
            raise EnoughError

    train_other(name, train_dir, after_step)
    return STEPS * BATCH / (times[-1] - times[WARM_UP - 1])


def times_of_other(name: str, train_dir: str, test_dir: str, start: float) -> list[float | None]:
    """Returns the seconds from `start` to each of `TARGETS`; None for what takes longer than `PATIENCE`."""
    config = Config(test_dir=test_dir)
    images = [utils.preprocess(utils.imread(path), config) for path in find_images(config, "test_dir")]
    reached: list[float | None] = []
    steps, validation = 0, 0.0

    def average_psnr(predict: Predict) -> float:
        scores = []
        for degraded, original in images:
            padded = np.pad(degraded[..., :1].astype(np.float32), ((6, 6), (6, 6), (0, 0)), mode="edge")
            restored = to_uint8(predict(padded[np.newaxis])[0, ..., 0])
            scores.append(metrics.score(restored, to_uint8(original[..., 0]), config.scale).psnr)
        return float(np.mean(scores))

    def after_step(predict: Predict) -> None:
        nonlocal steps, validation
        steps += 1
        now = time.time()
        if steps % VALIDATE_EVERY == 0:
            psnr = average_psnr(predict)
            reached.extend([now - start - validation] * (sum(psnr >= target for target in TARGETS) - len(reached)))
            validation += time.time() - now
        if len(reached) == len(TARGETS) or now - start - validation > PATIENCE:
            raise EnoughError

    train_other(name, train_dir, after_step)
    return reached + [None] * (len(TARGETS) - len(reached))


def speed_of_ours(precision: str, train_dir: str) -> float:
    """Returns patches per second from the end of the third epoch to that of the ninth, with all that happens between.

    T91 has 161 steps per epoch: SOAP settles in the fourth, and two or three checkpoints are written.
    """
    from srcnn_tf.system.devices import load_tensorflow

    load_tensorflow()
    import keras

    from srcnn_tf.training.train import train

    class EpochEnds(keras.callbacks.Callback):
        def on_train_begin(self, logs: dict | None = None) -> None:
            self.ends: list[tuple[int, float]] = []  # steps, seconds

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            self.step = batch

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            self.ends.append((self.step, time.perf_counter()))

    epoch_ends = EpochEnds()
    with tempfile.TemporaryDirectory() as scratch:
        config = Config(train_dir=train_dir, epoch=9, precision=precision, checkpoint_dir=scratch, log_dir=scratch)
        train(config, [epoch_ends])
    (first_step, first_end), (last_step, last_end) = epoch_ends.ends[2], epoch_ends.ends[8]
    return (last_step - first_step) * BATCH / (last_end - first_end)


def time_of_ours(train_dir: str, test_dir: str) -> tuple[float, float]:
    """Returns the seconds of the whole command to train one epoch, and the dB that a test then finds."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [f"--{name}_dir={scratch}" for name in ("checkpoint", "log", "sample")]
        training = run_python(ROOT / "main.py", *folders, f"--train_dir={train_dir}", "--epoch=1")
        run_python(ROOT / "main.py", *folders, "--is_train=False", f"--test_dir={test_dir}")
        with open(Path(scratch, "results.csv"), newline="", encoding="utf-8") as file:
            psnr = statistics.mean(float(row["psnr_srcnn"]) for row in csv.DictReader(file))
    return training.seconds, psnr


# --- All of them, in turns ---


def run_child(name: str, train_dir: str, test_dir: str | None = None) -> object:
    """Measures the speed, or with `test_dir` the times, in a new process; None if that fails, which is reported."""
    options = [f"--child={name}", f"--train_dir={train_dir}", *([f"--test_dir={test_dir}"] if test_dir else [])]
    try:
        return json.loads(run_python("-m", "benchmarks.train", *options).output.splitlines()[-1])
    except RunError as error:
        print(f"{name}: not measured. {error}", file=sys.stderr, flush=True)
        return None


def print_speeds(train_dir: str, turns: int) -> None:
    """Measures and prints the table of speeds."""
    speeds: dict[str, list[float]] = {name: [] for name in (*OTHERS, *OURS)}
    for turn in range(turns):
        for name, found in speeds.items():
            speed = run_child(name, train_dir)
            if isinstance(speed, float):
                found.append(speed)
                print(f"turn {turn + 1}: {name}: {speed:.0f} patches/s", file=sys.stderr, flush=True)
    medians = {name: statistics.median(found) for name, found in speeds.items() if found}
    base = medians.get(next(iter(OTHERS)), np.nan)
    print("| | patches/s | relative to the reference |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.0f} | {median / base:.2f} |")


def print_times(train_dir: str, test_dir: str) -> None:
    """Measures and prints the table of times to a PSNR."""
    print("\n| | " + " | ".join(f"to {target} dB" for target in TARGETS) + " |\n|---|---|---|")
    for name in OTHERS:
        reached = run_child(name, train_dir, test_dir)
        if isinstance(reached, list):
            cells = [f"{seconds:.0f} s" if seconds else f"not in {PATIENCE:.0f} s" for seconds in reached]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    seconds, psnr = time_of_ours(train_dir, test_dir)
    cells = [f"{seconds:.0f} s" if psnr >= target else "missed" for target in TARGETS]
    print(f"| srcnn_tf, `--epoch=1`, {psnr:.2f} dB | " + " | ".join(cells) + " |", flush=True)


def main() -> None:
    """Measures, and prints Markdown tables."""
    start = time.time()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", allow_abbrev=False)
    parser.add_argument("--train_dir", required=True, help="Folder of training images.")
    parser.add_argument("--test_dir", help="Folder of test images. Default: only speeds are measured.")
    parser.add_argument("--turns", type=int, default=3, help="Turns to measure each speed. Default: 3.")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child in OURS:
        print(json.dumps(speed_of_ours(OURS[given.child], given.train_dir)))
    elif given.child and given.test_dir:
        print(json.dumps(times_of_other(given.child, given.train_dir, given.test_dir, start)))
    elif given.child:
        print(json.dumps(speed_of_other(given.child, given.train_dir)))
    else:
        print_speeds(given.train_dir, given.turns)
        if given.test_dir:
            print_times(given.train_dir, given.test_dir)


if __name__ == "__main__":
    sys.exit(report_errors(main))
