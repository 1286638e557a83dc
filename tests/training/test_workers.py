"""Training on several workers and devices, each a real process on this machine."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, program_environment
from networks import find

from srcnn_tf.config import Config
from srcnn_tf.errors import UsageError
from srcnn_tf.system import devices
from srcnn_tf.system.jobs import program_fingerprint
from srcnn_tf.training import train
from srcnn_tf.training.workers import Workers

RUN = "srcnn_21_x3_scipy"
LIMIT = 60  # seconds after which the other workers have ended, if one is lost
# 240 steps, 12 per epoch, of the recipe that compiles fastest among those with an optimizer's state.
FLAGS = ("--is_train=True", "--recipe=paper", "--filters=8,4", "--batch_size=6", "--epoch=20")
RUN_OF_FLAGS = f"{RUN}_8-4"


@pytest.fixture
def images(make_image):
    """Three images of 24 patches each."""
    for number in range(3):
        make_image(f"Train/{number}.png", 75, 106, seed=number)


@pytest.fixture
def start(tmp_path):
    """Starts two workers with the same flags, or more for the second one; both are killed when the test ends."""
    with contextlib.ExitStack() as stack:

        def start_both(*flags, of_second=()):
            with contextlib.ExitStack() as sockets:
                free = [sockets.enter_context(socket.socket()) for _ in range(2)]
                for held in free:
                    held.bind(("127.0.0.1", 0))
                hosts = [f"127.0.0.1:{held.getsockname()[1]}" for held in free]
            processes = []
            for number in range(2):
                task = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": number}}
                process = subprocess.Popen(
                    [sys.executable, ROOT / "main.py", *flags, *(of_second if number else ())],
                    cwd=tmp_path,
                    env=program_environment() | {"TF_CONFIG": json.dumps(task)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                processes.append(stack.enter_context(process))
                stack.callback(process.kill)
            return processes

        yield start_both


def finish(processes, status=0):
    """Waits for the workers; returns what each printed, and what it reported as its error."""
    outputs = [process.communicate(timeout=LIMIT) for process in processes]
    assert [process.returncode for process in processes] == [status] * len(processes), outputs
    return outputs


def wait_until(condition, processes):
    """Waits until a condition holds, while all processes run."""
    while not condition():
        assert all(process.poll() is None for process in processes), finish(processes)
        time.sleep(0.02)


def weights(checkpoint_dir="checkpoint", run=RUN_OF_FLAGS, **flags):
    return find(Config(weights=str(Path(checkpoint_dir, run)), **flags))[0].get_weights()


def largest_difference(actual, expected):
    return max(np.abs(one - other).max() for one, other in zip(actual, expected, strict=True))


@pytest.mark.slow
def test_two_workers_train_as_one_machine_and_only_the_chief_writes(images, start):
    flags = {"recipe": "reference", "batch_size": 7, "epoch": 10}  # 100 steps; of a batch, one worker has four patches
    words = [f"--{name}={value}" for name, value in flags.items()]
    (chief, _), (other, _) = finish(start("--is_train=True", *words))
    assert chief.count("Epoch: [") == 10
    assert "Epoch: [" not in other
    assert "Worker 1 of 2" in other
    assert "Done: 100 steps" in other
    train.train(Config(**flags, checkpoint_dir="alone", log_dir="alone/logs"))
    assert largest_difference(weights(run=RUN), weights("alone", RUN)) < 1e-5
    start_weights = train.create_state(Config(**flags), train.RECIPES["reference"]).model.get_weights()
    assert largest_difference(weights(run=RUN), start_weights) > 1e-4
    assert sorted(path.name for path in Path("logs", RUN).iterdir())[-1] == "history.csv"
    assert len(list(Path("logs", RUN).glob("events*"))) == 1


@pytest.mark.slow
def test_a_run_whose_workers_are_stopped_or_lost_ends_as_an_undisturbed_one(images, start, tmp_path):
    finish(start(*FLAGS, "--checkpoint_dir=undisturbed", "--log_dir=undisturbed/logs"))
    folder, history = tmp_path / "checkpoint" / RUN_OF_FLAGS, tmp_path / "logs" / RUN_OF_FLAGS / "history.csv"

    workers = start(*FLAGS)
    wait_until(history.exists, workers)
    workers[1].terminate()
    (_, chief), (_, other) = finish(workers, status=130)
    assert "Stopped by another worker" in chief
    assert "Stopped by SIGTERM" in other
    stopped = json.loads((folder / "config.json").read_text())["step"]
    assert 0 < stopped < 240

    for lost, signal_number in ((0, signal.SIGSTOP), (1, signal.SIGKILL)):
        workers, rows = start(*FLAGS), len(history.read_text().splitlines())
        wait_until(lambda rows=rows: len(history.read_text().splitlines()) > rows, workers)
        workers[lost].send_signal(signal_number)
        ((output, error),) = finish([workers[1 - lost]], status=1)
        assert f"Resuming from step {stopped} of 240" in output
        assert error.startswith(f"Worker {1 - lost} of 2 stops")
        assert len(error.splitlines()) == 1
        workers[lost].kill()
        workers[lost].wait()

    (output, _), _ = finish(start(*FLAGS))
    assert f"Resuming from step {stopped} of 240" in output
    assert largest_difference(weights(filters="8,4"), weights("undisturbed", filters="8,4")) == 0


def test_workers_compare_flags_precision_and_the_files_of_the_program(images, monkeypatch):
    compared = []
    monkeypatch.setattr(Workers, "check_same", lambda workers, description: compared.append(description))
    config = Config(recipe="reference", batch_size=7, epoch=1, precision="float32", seed=3)
    train.train(config)
    ((identity, *others),) = compared
    assert identity == config.identity
    assert {1, "float32", program_fingerprint()} <= {one for one in others if isinstance(one, (int, str))}


@pytest.mark.slow
def test_workers_with_other_flags_are_refused(images, start):
    (_, chief), (_, other) = finish(start(*FLAGS, of_second=["--seed=1"]), status=1)
    assert "Worker 1 of 2 has other flags" in other
    assert "Worker 0 of 2 stops" in chief


@pytest.mark.parametrize("text", ["{", "[]", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}'])
def test_a_malformed_tf_config_is_an_error(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match="TF_CONFIG: expected"):
        devices.worker_number()


def test_tf_config_counts_the_chief_before_the_workers(monkeypatch):
    given = {"cluster": {"worker": ["a:1", "b:1"], "chief": ["c:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(given))
    assert devices.worker_number() == (2, 3)


ON_TWO_DEVICES = """
import dataclasses
import numpy as np
import tensorflow as tf
processor = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
from srcnn_tf.config import Config
from srcnn_tf.training.recipes import RECIPES
from srcnn_tf.training.step import Settings, compile_steps, create_state
from srcnn_tf.training.train import train
from srcnn_tf.training.workers import Workers
both = Workers(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
assert both.strategy.num_replicas_in_sync == 2
train(Config(recipe="reference", batch_size=7, epoch=10, checkpoint_dir="both"), workers=both)

# The first gradient of the other recipe, as plain descent at a learning rate of 1.
config, recipe = Config(precision="float32"), dataclasses.replace(RECIPES["modern"], optimizer="sgd")
data, label = (np.random.default_rng(0).random((7, side, side, 1)).astype(np.float32) for side in (33, 21))
weights = []
for workers in (Workers(tf.distribute.get_strategy()), both):
    state = create_state(config, recipe)
    steps = compile_steps(state, config, Settings(recipe, workers, 7))
    steps(data, label, np.arange(7)[np.newaxis], np.ones(1, np.float32))
    weights.append([variable.numpy() for variable in state.overparameterization.trained_variables()])
start = [variable.numpy() for variable in create_state(config, recipe).overparameterization.trained_variables()]
assert max(np.abs(one - before).max() for one, before in zip(weights[0], start)) > 1e-3
difference = max(np.abs(one - other).max() for one, other in zip(*weights))
assert difference < 1e-6, difference
"""


@pytest.mark.slow
def test_two_devices_train_as_one(images):
    environment = program_environment() | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", ON_TWO_DEVICES], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    train.train(Config(recipe="reference", batch_size=7, epoch=10, checkpoint_dir="alone"))
    assert largest_difference(weights("both", RUN), weights("alone", RUN)) < 1e-5


def test_several_gpus_are_used_without_being_asked_for(monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one", "other"])
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: "on both")
    assert devices.training_strategy.__wrapped__() == "on both"


def test_parts_of_a_batch_are_all_of_it():
    workers = [Workers(tf.distribute.get_strategy(), number, 3) for number in range(3)]
    parts = [np.arange(128)[worker.share(128)] for worker in workers]
    assert [len(part) for part in parts] == [42, 43, 43]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(128))
