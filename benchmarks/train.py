"""Training speed, ours beside others, in one run on one machine: patches a second, 9-1-5, x3, batch 128.

    pip install -r requirements-bench.txt
    python -m benchmarks.train --train_dir=path/to/T91

Ours is the program's own loop with all it does: shuffling, flips, SOAP, averaging, checkpoints, TensorBoard. Each of
the others gets a plain loop over the same sub-images in memory. Each runs in a process of its own; they take turns, and
the median of the turns is printed, since machines are noisy. Ratios say more than figures.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags
from numpy.typing import NDArray

BATCH = 128
STEPS = 300  # counted, after as many as it takes to compile

_TRAIN_DIR = flags.DEFINE_string("train_dir", None, "Folder of training pictures.", required=True)
_TURNS = flags.DEFINE_integer("turns", 3, "Times each is measured.")
_ONLY = flags.DEFINE_list("only", None, "Names of those to measure. Default: all.")
_CHILD = flags.DEFINE_string("child", None, "Measures this one alone and prints its patches a second.")

Data = tuple[NDArray[np.float32], NDArray[np.float32]]


def load(train_dir: str) -> Data:
    """The sub-images `(n, 33, 33, 1)` and labels `(n, 21, 21, 1)` of a folder, float32."""
    from srcnn_tf import utils
    from srcnn_tf.config import Config

    pairs = [utils.training_pairs(path, Config()) for path in utils.prepare_data(train_dir)]
    data, label = (np.concatenate(part).astype(np.float32) for part in zip(*pairs, strict=True))
    return data, label


def ours(precision: str) -> Callable[[str], float]:
    """The program itself, in float32 or bfloat16; the speed of its last epoch."""

    def measure(train_dir: str) -> float:
        from srcnn_tf.startup import load_tensorflow

        load_tensorflow(is_train=True)
        import keras

        from srcnn_tf.config import Config
        from srcnn_tf.train import train

        class Speed(keras.callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
                self.found = logs["patches_per_second"]

        with tempfile.TemporaryDirectory() as scratch:
            speed = Speed()
            train(
                Config(train_dir=train_dir, epoch=3, precision=precision, checkpoint_dir=scratch, log_dir=scratch),
                [speed],
            )
        return speed.found

    return measure


def reference(train_dir: str) -> float:
    """The reference's way: a TensorFlow 1 graph, placeholders fed from NumPy, plain gradient descent, in order."""
    import tensorflow.compat.v1 as tf

    data, label = load(train_dir)
    tf.disable_eager_execution()
    images = tf.placeholder(tf.float32, [None, 33, 33, 1])
    labels = tf.placeholder(tf.float32, [None, 21, 21, 1])
    features = images
    for number, shape in enumerate([(9, 9, 1, 64), (1, 1, 64, 32), (5, 5, 32, 1)]):
        kernel = tf.Variable(tf.random_normal(shape, stddev=1e-3))
        features = tf.nn.conv2d(features, kernel, [1, 1, 1, 1], "VALID") + tf.Variable(tf.zeros(shape[-1:]))
        features = tf.nn.relu(features) if number < 2 else features
    loss = tf.reduce_mean(tf.square(labels - features))
    descend = tf.train.GradientDescentOptimizer(1e-4).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return timed(data, label, lambda x, y: session.run([descend, loss], {images: x, labels: y}))


def keras_fit(train_dir: str) -> float:
    """Keras `fit` with Adam over arrays in memory, shuffled, its defaults otherwise."""
    import keras

    from srcnn_tf.model import srcnn

    data, label = load(train_dir)
    model = srcnn(initialization="he")
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    count = STEPS * BATCH // 2
    model.fit(data[: 20 * BATCH], label[: 20 * BATCH], batch_size=BATCH, verbose=0)
    start = time.perf_counter()
    model.fit(data[:count], label[:count], batch_size=BATCH, epochs=2, verbose=0)
    return 2 * min(count, len(data)) / (time.perf_counter() - start)


def pytorch(compiled: bool) -> Callable[[str], float]:
    """PyTorch with Adam, eager or through `torch.compile`."""

    def measure(train_dir: str) -> float:
        import torch
        from torch import nn

        data, label = (torch.from_numpy(array.transpose(0, 3, 1, 2).copy()) for array in load(train_dir))
        layers = [nn.Conv2d(1, 64, 9), nn.ReLU(), nn.Conv2d(64, 32, 1), nn.ReLU(), nn.Conv2d(32, 1, 5)]
        model = nn.Sequential(*layers)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        run = torch.compile(model) if compiled else model

        def step(images: torch.Tensor, labels: torch.Tensor) -> None:
            optimizer.zero_grad()
            nn.functional.mse_loss(run(images), labels).backward()
            optimizer.step()

        return timed(data, label, step)

    return measure


def timed(data: NDArray, label: NDArray, step: Callable) -> float:
    """Patches a second of `step(data, label)` over batches in order, after 20 that are not counted."""
    batches = len(data) // BATCH

    def run(count: int) -> None:
        for number in range(count):
            chosen = slice(number % batches * BATCH, (number % batches + 1) * BATCH)
            step(data[chosen], label[chosen])

    run(20)
    start = time.perf_counter()
    run(STEPS)
    return STEPS * BATCH / (time.perf_counter() - start)


COMPETITORS = {
    "the reference's way (TensorFlow 1 graph, feed_dict, SGD)": reference,
    "Keras fit, Adam": keras_fit,
    "PyTorch eager, Adam": pytorch(compiled=False),
    "PyTorch torch.compile, Adam": pytorch(compiled=True),
    "srcnn_tf, --precision=float32": ours("float32"),
    "srcnn_tf, defaults": ours("auto"),
}


def main(argv: list[str]) -> None:
    """Measures, and prints a Markdown table."""
    if _CHILD.value:
        print(json.dumps(COMPETITORS[_CHILD.value](_TRAIN_DIR.value)))
        return
    speeds: dict[str, list[float]] = {name: [] for name in _ONLY.value or COMPETITORS}
    command = [sys.executable, "-m", "benchmarks.train", f"--train_dir={_TRAIN_DIR.value}"]
    for turn in range(_TURNS.value):
        for name, found in speeds.items():
            done = subprocess.run([*command, f"--child={name}"], capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}: not measured ({done.stderr.strip().splitlines()[-1]})", file=sys.stderr)
                continue
            found.append(json.loads(done.stdout.strip().splitlines()[-1]))
            print(f"turn {turn + 1}: {name}: {found[-1]:.0f} patches/s", file=sys.stderr, flush=True)
    medians = {name: statistics.median(found) for name, found in speeds.items() if found}
    base = medians.get(next(iter(COMPETITORS)), next(iter(medians.values())))
    print("| | patches/s | times the reference's way |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.0f} | {median / base:.2f} |")


if __name__ == "__main__":
    Path("benchmarks").is_dir() or sys.exit("Run this from the repository's root.")
    app.run(main)
