"""Training, ours beside others, in one run on one machine: patches a second, and seconds to a quality.

    pip install -r requirements-bench.txt
    python -m benchmarks.train --train_dir=path/to/T91 --test_dir=path/to/Set5

Network 9-1-5, x3, batches of 128. Ours is the program itself with all it does: shuffling, flips, SOAP, averaging,
checkpoints, TensorBoard. Each of the others is a plain loop over the same sub-images in memory. Each runs in a process
of its own; they take turns, and the median of the turns is printed, since machines are noisy. Ratios say more than
figures.

Quality is the average PSNR of the test pictures. For the others its time runs from the program's first line, without
what measuring takes; for ours it is that of the whole command.
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
WARM_UP, STEPS = 20, 300  # steps that are not counted, and that are
QUALITIES = (27.956, 29.9)  # dB on Set5: what the reference's published weights reach, and nearly two more
MEASURE_EVERY = 40  # steps
PATIENCE = 60.0  # seconds

_TRAIN_DIR = flags.DEFINE_string("train_dir", None, "Folder of training pictures.", required=True)
_TEST_DIR = flags.DEFINE_string("test_dir", None, "Folder of test pictures. Default: speed alone is measured.")
_TURNS = flags.DEFINE_integer("turns", 3, "Times each speed is measured.")
_CHILD = flags.DEFINE_string("child", None, "Measures this one alone and prints JSON.")
_QUALITY = flags.DEFINE_boolean("quality", False, "What the child measures: time to a quality, not speed.")

Images = NDArray[np.float32]
Predict = Callable[[Images], Images]  # (1, rows, cols, 1) to (1, rows - 12, cols - 12, 1)
AfterStep = Callable[[Predict], None]


class EnoughError(Exception):
    """Ends a training from within."""


# --- the others: each trains until `after_step` has had enough --------------------------------------


def reference(data: Images, label: Images, after_step: AfterStep) -> None:
    """The reference's way: a TensorFlow 1 graph, placeholders fed from NumPy, plain gradient descent, in order."""
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
    descend = tf.train.GradientDescentOptimizer(1e-4).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        while True:
            for begin in range(0, len(data) - BATCH + 1, BATCH):
                chosen = slice(begin, begin + BATCH)
                session.run([descend, loss], {images: data[chosen], labels: label[chosen]})
                after_step(lambda picture: session.run(features, {images: picture}))


def keras_fit(data: Images, label: Images, after_step: AfterStep) -> None:
    """Keras `fit` with Adam over arrays in memory, shuffled, its defaults otherwise."""
    import keras

    from srcnn_tf.model import srcnn

    class AfterBatch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            after_step(lambda picture: np.asarray(model(picture)))

    model = srcnn(initialization="he")
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    model.fit(data, label, batch_size=BATCH, epochs=1000, verbose=0, callbacks=[AfterBatch()])


def pytorch(compiled: bool) -> Callable[[Images, Images, AfterStep], None]:
    """PyTorch with Adam, shuffled, eager or through `torch.compile`."""

    def train(data: Images, label: Images, after_step: AfterStep) -> None:
        import torch
        from torch import nn

        images, labels = (torch.from_numpy(array.transpose(0, 3, 1, 2).copy()) for array in (data, label))
        layers = [nn.Conv2d(1, 64, 9), nn.ReLU(), nn.Conv2d(64, 32, 1), nn.ReLU(), nn.Conv2d(32, 1, 5)]
        model = nn.Sequential(*layers)
        for number, initialize in ((0, nn.init.kaiming_normal_), (2, nn.init.kaiming_normal_)):
            initialize(layers[number].weight, nonlinearity="relu")
        nn.init.normal_(layers[4].weight, std=1e-3)
        for number in (0, 2, 4):
            nn.init.zeros_(layers[number].bias)
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        run = torch.compile(model) if compiled else model

        def predict(picture: Images) -> Images:
            with torch.no_grad():
                return model(torch.from_numpy(picture.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)

        while True:
            for chosen in torch.randperm(len(images))[: len(images) // BATCH * BATCH].split(BATCH):
                optimizer.zero_grad()
                nn.functional.mse_loss(run(images[chosen]), labels[chosen]).backward()
                optimizer.step()
                after_step(predict)

    return train


OTHERS = {
    "the reference's way (TensorFlow 1 graph, feed_dict, SGD)": reference,
    "Keras fit, Adam": keras_fit,
    "PyTorch eager, Adam": pytorch(compiled=False),
    "PyTorch torch.compile, Adam": pytorch(compiled=True),
}
OURS = {"srcnn_tf, `--precision=float32`": "float32", "srcnn_tf, defaults": "auto"}
OUR_EPOCHS = (1, 6)  # `--epoch`, enough for each of QUALITIES


# --- measuring: in a process of its own -------------------------------------------------------------


def load(train_dir: str) -> tuple[Images, Images]:
    """The sub-images `(n, 33, 33, 1)` and labels `(n, 21, 21, 1)` of a folder, float32."""
    from srcnn_tf import utils
    from srcnn_tf.config import Config

    pairs = [utils.training_pairs(path, Config()) for path in utils.prepare_data(train_dir)]
    data, label = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return data, label


def speed_of_other(name: str) -> float:
    """Patches a second."""
    times: list[float] = []

    def after_step(predict: Predict) -> None:
        times.append(time.perf_counter())
        if len(times) == WARM_UP + STEPS:
            raise EnoughError

    try:
        OTHERS[name](*load(_TRAIN_DIR.value), after_step)
    except EnoughError:
        return STEPS * BATCH / (times[-1] - times[WARM_UP - 1])
    raise AssertionError


def quality_of_other(name: str, start: float) -> list[float | None]:
    """Seconds from `start` to each of `QUALITIES`; None for what takes longer than `PATIENCE`."""
    pictures = test_pictures()
    reached: list[float | None] = []
    steps, measuring = 0, 0.0

    def after_step(predict: Predict) -> None:
        nonlocal steps, measuring
        steps += 1
        now = time.time()
        if steps % MEASURE_EVERY == 0:
            found = average_psnr(pictures, predict)
            while len(reached) < len(QUALITIES) and found >= QUALITIES[len(reached)]:
                reached.append(now - start - measuring)
            measuring += time.time() - now
        if len(reached) == len(QUALITIES) or now - start - measuring > PATIENCE:
            raise EnoughError

    try:
        OTHERS[name](*load(_TRAIN_DIR.value), after_step)
    except EnoughError:
        return reached + [None] * (len(QUALITIES) - len(reached))
    raise AssertionError


def test_pictures() -> list[tuple[NDArray, NDArray]]:
    """Degraded and original channels of the test pictures."""
    from srcnn_tf import utils
    from srcnn_tf.images.read import read_image

    return [utils.degraded_pair(read_image(path)) for path in utils.prepare_data(_TEST_DIR.value)]


def average_psnr(pictures: list[tuple[NDArray, NDArray]], predict: Predict) -> float:
    """The average PSNR in dB under the program's protocol."""
    from srcnn_tf.images.color import to_uint8
    from srcnn_tf.images.metrics import score

    found = []
    for degraded, original in pictures:
        padded = np.pad(degraded[..., :1].astype(np.float32), ((6, 6), (6, 6), (0, 0)), mode="edge")
        restored = predict(padded[np.newaxis])[0, ..., 0]
        found.append(score(to_uint8(restored), to_uint8(original[..., 0]), scale=3).psnr)
    return float(np.mean(found))


def speed_of_ours(precision: str) -> float:
    """Patches a second from the third epoch's end to the ninth's: with checkpoints, measuring, and TensorBoard.

    T91 has 161 steps an epoch, so that SOAP settles in the fourth, and two or three checkpoints are written.
    """
    from srcnn_tf.devices import load_tensorflow

    load_tensorflow(is_train=True)
    import keras

    from srcnn_tf.config import Config
    from srcnn_tf.training.train import train

    class Speed(keras.callbacks.Callback):
        def on_train_begin(self, logs: dict | None = None) -> None:
            self.steps, self.ends = [], []

        def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
            self.step = batch

        def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
            self.steps.append(self.step)
            self.ends.append(time.perf_counter())

    speed = Speed()
    with tempfile.TemporaryDirectory() as scratch:
        config = Config(
            train_dir=_TRAIN_DIR.value, epoch=9, precision=precision, checkpoint_dir=scratch, log_dir=scratch
        )
        train(config, [speed])
    return (speed.steps[8] - speed.steps[2]) * BATCH / (speed.ends[8] - speed.ends[2])


# --- all of them, in turns --------------------------------------------------------------------------


def child(name: str, quality: bool = False) -> object:
    """What a process of its own measures; None if it fails, with the reason on the terminal."""
    command = [sys.executable, "-m", "benchmarks.train", f"--train_dir={_TRAIN_DIR.value}", f"--child={name}"]
    command += [f"--quality={quality}"] + ([f"--test_dir={_TEST_DIR.value}"] if _TEST_DIR.value else [])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines() or [f"ended by {done.returncode}, perhaps for want of memory"]
        print(f"{name}: not measured ({reason[-1]})", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def quality_of_ours(epoch: int) -> tuple[float, float]:
    """Seconds of the whole training command, and the dB that a test then finds."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = [f"--{name}_dir={scratch}" for name in ("checkpoint", "log", "sample")]
        command = [sys.executable, "main.py", *folders]
        training = [*command, f"--train_dir={_TRAIN_DIR.value}", f"--epoch={epoch}"]
        start = time.perf_counter()
        subprocess.run(training, capture_output=True, check=True)
        seconds = time.perf_counter() - start
        test = [*command, "--is_train=False", f"--test_dir={_TEST_DIR.value}"]
        subprocess.run(test, capture_output=True, check=True)
        rows = np.genfromtxt(Path(scratch, "results.csv"), delimiter=",", names=True, usecols=("psnr_srcnn",))
    return seconds, float(np.mean(rows["psnr_srcnn"]))


def print_speeds() -> None:
    """Measures and prints the table of speeds."""
    speeds: dict[str, list[float]] = {name: [] for name in (*OTHERS, *OURS)}
    for turn in range(_TURNS.value):
        for name, found in speeds.items():
            speed = child(name)
            if isinstance(speed, float):
                found.append(speed)
                print(f"turn {turn + 1}: {name}: {speed:.0f} patches/s", file=sys.stderr, flush=True)
    medians = {name: statistics.median(found) for name, found in speeds.items() if found}
    base = medians.get(next(iter(OTHERS)), np.nan)
    print("| | patches/s | times the reference's way |\n|---|---|---|")
    for name, median in medians.items():
        print(f"| {name} | {median:.0f} | {median / base:.2f} |")


def print_times() -> None:
    """Measures and prints the table of times to a quality."""
    print("\n| | " + " | ".join(f"to {quality} dB" for quality in QUALITIES) + " |\n|---|---|---|")
    for name in OTHERS:
        reached = child(name, quality=True)
        if isinstance(reached, list):
            cells = [f"{seconds:.0f} s" if seconds else f"not in {PATIENCE:.0f} s" for seconds in reached]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    for number, (epoch, quality) in enumerate(zip(OUR_EPOCHS, QUALITIES, strict=True)):
        seconds, found = quality_of_ours(epoch)
        cells = [""] * len(QUALITIES)
        cells[number] = f"{seconds:.0f} s, {found:.2f} dB" if found >= quality else f"missed: {found:.2f} dB"
        print(f"| srcnn_tf, `--epoch={epoch}` | " + " | ".join(cells) + " |", flush=True)


def main(argv: list[str]) -> None:
    """Measures, and prints Markdown tables."""
    start = time.time()
    name = _CHILD.value
    if name is None:
        print_speeds()
        if _TEST_DIR.value:
            print_times()
    elif name in OURS:
        print(json.dumps(speed_of_ours(OURS[name])))
    else:
        print(json.dumps(quality_of_other(name, start) if _QUALITY.value else speed_of_other(name)))


if __name__ == "__main__":
    Path("benchmarks").is_dir() or sys.exit("Run this from the repository's root.")
    app.run(main)
