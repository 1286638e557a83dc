import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from networks import find, save

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.model import LAYERS, build_model
from srcnn_tf.weights import search
from srcnn_tf.weights.models import find_model
from srcnn_tf.weights.search import WeightsSearch


def saved(config=None, folder="run", seed=7):
    config = config or Config()
    model = build_model(config.network, seed=seed)
    save(model, config, Path(folder))
    return model


def assert_same_weights(model, expected):
    for values, others in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(values, others)


@pytest.mark.parametrize("name", ["", "SRCNN.weights.h5", "SRCNN.keras"])
@pytest.mark.parametrize("changes", [{}, {"architecture": "9-5-5", "c_dim": 3}])
def test_saved_weights_are_loaded(name, changes):
    model = saved(Config(**changes))
    loaded, source = find(Config(weights=str(Path("run", name)), **changes))
    assert_same_weights(loaded, model)
    assert source == str(Path("run", name))
    assert sorted(path.name for path in Path("run").iterdir()) == ["SRCNN.keras", "SRCNN.weights.h5"]


def test_both_files_load_in_keras_where_this_package_is_absent():
    model = saved()
    program = (
        "import sys; sys.modules['srcnn_tf'] = None\n"  # so that importing it fails
        "import keras, numpy as np\n"
        "model = keras.models.load_model('run/SRCNN.keras')\n"
        "assert {type(layer) for layer in model.layers[1:]} == {keras.layers.Conv2D}\n"
        "weights = model.get_weights()\n"
        "model.set_weights([0 * values for values in weights])\n"
        "model.load_weights('run/SRCNN.weights.h5')\n"
        "assert all(map(np.array_equal, weights, model.get_weights()))\n"
        "np.savez('loaded.npz', *weights)\n"
        "print(model.name, *(layer.name for layer in model.layers[1:]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-4:] == ["srcnn_x3_scipy", *LAYERS]
    loaded = np.load("loaded.npz")
    for number, values in enumerate(model.get_weights()):
        np.testing.assert_array_equal(loaded[f"arr_{number}"], values)


def test_weights_are_searched_in_the_flag_then_the_run_then_the_package(monkeypatch, tmp_path):
    shipped = tmp_path / "package"
    shipped.mkdir()
    monkeypatch.setattr(search.resources, "files", lambda package: shipped)
    config = Config()
    given = saved(folder="given", seed=1)
    of_run = saved(folder=config.search.run_directory(config.network), seed=2)
    of_package = saved(folder="package", seed=3)
    Path("package/SRCNN.weights.h5").rename(shipped / "srcnn_x3_scipy.weights.h5")
    run_file = Path("checkpoint/srcnn_21_x3_scipy/SRCNN.weights.h5")
    for where, expected, expected_source in (
        (Config(weights="given").search, given, "given"),
        (config.search, of_run, str(run_file)),
        (WeightsSearch(), of_package, "shipped"),
    ):
        model, source = find_model(config.network, where)
        assert_same_weights(model, expected)
        assert source == expected_source
    run_file.unlink()
    assert find(config)[1] == "shipped"
    (shipped / "srcnn_x3_scipy.weights.h5").unlink()
    message = r"No weights for --scale=3 --degradation=scipy --architecture=9-1-5 .*there is no checkpoint/srcnn"
    with pytest.raises(RunError, match=message):
        find(config)
    with pytest.raises(RunError, match=r"--weights=nowhere: there is no such file"):
        find(Config(weights="nowhere"))


@pytest.mark.parametrize("name", ["", "SRCNN.keras"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale": 2}, "weights of srcnn_x3_scipy, but srcnn_x2_scipy is asked for"),
        ({"architecture": "9-5-5"}, r"Expected shapes .*\[5, 5, 64, 32\].* found .*\[1, 1, 64, 32\]"),
        ({"c_dim": 3}, r"Expected shapes \[\[9, 9, 3, 64\].*, found \[\[9, 9, 1, 64\]"),
    ],
)
def test_weights_of_another_network_are_refused_with_both_shown(name, changes, message):
    saved()
    with pytest.raises(RunError, match=message):
        find(Config(weights=str(Path("run", name)), **changes))


def test_weights_of_another_color_space_are_refused_and_without_a_name_shapes_count():
    model = saved(Config(c_dim=3, color_space="rgb"))
    message = "weights of srcnn_x3_scipy_rgb, but .*--color_space=ycbcr"
    with pytest.raises(RunError, match=message):
        find(Config(c_dim=3, weights="run"))
    with h5py.File("run/SRCNN.weights.h5", "a") as file:
        del file.attrs["network"]
    assert_same_weights(find(Config(c_dim=3, weights="run", scale=4))[0], model)


@pytest.mark.parametrize("name", ["SRCNN.weights.h5", "SRCNN.keras"])
@pytest.mark.parametrize("size", [0, 100, 20000])
def test_damaged_weights_are_named(name, size):
    saved()
    path = Path("run", name)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunError, match=name):
        find(Config(weights=str(path)))


def test_flipped_bits_and_nan_in_weights_are_noticed():
    model = saved()
    path = Path("run/SRCNN.weights.h5")
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        content[file["layers/conv2d/vars/0"].id.get_offset() + 1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"SRCNN\.weights\.h5: cannot be read .*checksum"):
        find(Config(weights="run"))
    model.set_weights([np.nan * values for values in model.get_weights()])
    save(model, Config(), Path("run"))
    with pytest.raises(RunError, match="not finite numbers"):
        find(Config(weights="run"))


def test_checkpoints_of_the_references_code_are_loaded(golden):
    truth = np.load(golden / "reference_training.npz")
    path = golden / "checkpoint" / "srcnn_21" / "SRCNN.model-500"
    model, source = find(Config(weights=str(path)))
    assert source == str(path)
    expected = [truth[f"final_{kind}{number}"] for number in (1, 2, 3) for kind in "wb"]
    for values, others in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(values, others)
