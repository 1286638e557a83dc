import subprocess
import sys
import threading

import pytest
import tensorflow as tf
from conftest import ROOT, program_environment

from srcnn_tf import devices
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.training.step import create_state


@pytest.mark.parametrize(
    ("features", "changes", "expected"),
    [
        ({"avx512_bf16", "fma"}, {}, "bfloat16"),
        ({"amx_bf16"}, {}, "bfloat16"),
        ({"avx512f", "fma"}, {}, "float32"),
        (set(), {"precision": "bfloat16"}, "bfloat16"),
        ({"amx_bf16"}, {"precision": "float32"}, "float32"),
        ({"amx_bf16"}, {"recipe": "reference"}, "float32"),
        ({"amx_bf16"}, {"weights": "srcnn_21/SRCNN.model-2550000"}, "float32"),
        ({"amx_bf16"}, {"weights": "SRCNN.weights.h5"}, "bfloat16"),
    ],
)
def test_auto_precision_depends_on_processor_features(features, changes, expected, monkeypatch):
    monkeypatch.setattr(devices, "has_gpu", lambda: False)
    monkeypatch.setattr(devices, "processor_features", lambda: features)
    assert devices.compute_dtype(Config(**changes)) == expected


@pytest.mark.parametrize(
    ("details", "changes", "expected"),
    [
        ({"compute_capability": (9, 0)}, {}, "bfloat16"),
        ({"compute_capability": (8, 0)}, {"recipe": "reference"}, "float32"),
        ({"compute_capability": (7, 5)}, {}, "float32"),
        ({}, {}, "float32"),
    ],
)
def test_auto_precision_depends_on_compute_capability_on_a_gpu(details, changes, expected, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"] if kind == "GPU" else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: details)
    monkeypatch.setattr(devices, "processor_features", lambda: {"amx_bf16"})
    assert devices.compute_dtype(Config(**changes)) == expected


@pytest.mark.parametrize(("precision", "expected"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_training_is_in_bfloat16_on_request_only(precision, expected, monkeypatch):
    monkeypatch.setattr(devices, "is_bfloat16_fast", lambda: True)
    config = Config(filters="6,4", precision=precision)
    assert create_state(config, RECIPES["modern"]).model.layers[1].compute_dtype == expected


def test_tensorflow_loads_silently_and_multiplies_float32_exactly():
    program = (
        "from srcnn_tf.devices import load_tensorflow; print(load_tensorflow())\n"
        "import tensorflow as tf; assert not tf.config.experimental.tensor_float_32_execution_enabled()\n"
    )
    command, options = [sys.executable, "-c", program], {"cwd": ROOT, "env": program_environment()}
    done = subprocess.run(command, **options, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.count("\n") == 1


def test_results_of_threads_come_in_order_and_not_far_ahead():
    begun = [threading.Event() for _ in range(9)]

    def work(number):
        begun[number].set()
        if number == 0:  # the first takes longer than the others
            assert begun[2].wait(10)
        return number * number

    results = devices.map_in_threads(work, range(9), threads=3)
    assert next(results) == 0
    assert begun[3].wait(10)
    assert not begun[4].is_set()
    assert list(results) == [1, 4, 9, 16, 25, 36, 49, 64]


def test_an_error_in_a_thread_is_raised_in_its_place():
    results = devices.map_in_threads(lambda number: 1 // (number - 1), [0, 1, 2], threads=1)
    assert next(results) == -1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_running_calls_see_that_no_more_results_are_needed():
    stopped, seen = threading.Event(), []
    results = devices.map_in_threads(lambda number: number and seen.append(stopped.wait(60)), range(9), 2, stopped)
    assert next(results) == 0
    results.close()
    assert seen == [True] * len(seen)
    assert len(seen) <= 3
