from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.weights import checkpoint


def published(config=None, folder="run", seed=7):
    config = config or Config()
    model = checkpoint.build(Config(**{**config.__dict__, "seed": seed}))
    checkpoint.publish(model, config, Path(folder))
    return model


def assert_same_weights(found, expected):
    for one, other in zip(found.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["", "SRCNN.weights.h5", "SRCNN.keras"])
@pytest.mark.parametrize("changes", [{}, {"architecture": "9-5-5", "c_dim": 3}])
def test_published_weights_are_read_back(name, changes):
    config = Config(**changes)
    model = published(config)
    found, source = checkpoint.restored_model(Config(weights=str(Path("run", name)), **changes))
    assert_same_weights(found, model)
    assert source == str(Path("run", name))


def test_keras_file_needs_nothing_of_ours():
    model = published()
    found = keras.models.load_model("run/SRCNN.keras")
    assert_same_weights(found, model)
    assert [layer.name for layer in found.layers[1:]] == ["patch_extraction", "nonlinear_mapping", "reconstruction"]


def test_weights_file_is_one_that_keras_reads():
    model = published()
    other = checkpoint.build(Config())
    other.load_weights("run/SRCNN.weights.h5")
    assert_same_weights(other, model)


def test_only_whole_files_are_left():
    published()
    assert sorted(path.name for path in Path("run").iterdir()) == ["SRCNN.keras", "SRCNN.weights.h5"]


def test_order_of_weights_is_flag_then_run_then_shipped(monkeypatch, tmp_path):
    shipped = tmp_path / "package"
    shipped.mkdir()
    monkeypatch.setattr(checkpoint.resources, "files", lambda package: shipped)
    config = Config()
    given = published(folder="given", seed=1)
    ours = published(folder=checkpoint.run_directory(config), seed=2)
    theirs = published(folder="theirs", seed=3)
    Path("theirs/SRCNN.weights.h5").rename(shipped / "srcnn_x3_scipy.weights.h5")
    assert_same_weights(checkpoint.restored_model(Config(weights="given"))[0], given)
    model, source = checkpoint.restored_model(config)
    assert_same_weights(model, ours)
    assert source == "checkpoint/srcnn_21_x3_scipy/SRCNN.weights.h5"
    checkpoint.clear(checkpoint.run_directory(config))
    model, source = checkpoint.restored_model(config)
    assert_same_weights(model, theirs)
    assert source == "shipped"
    (shipped / "srcnn_x3_scipy.weights.h5").unlink()
    with pytest.raises(
        RunError, match=r"No weights for --architecture=9-1-5 --filters=64,32 --scale=3 .*there is no checkpoint/srcnn"
    ):
        checkpoint.restored_model(config)


@pytest.mark.parametrize("name", ["", "SRCNN.keras"])
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": 2}, "weights of srcnn_x3_scipy, but srcnn_x2_scipy is asked for"),
        ({"architecture": "9-5-5"}, r"Expected shapes .*\[5, 5, 64, 32\].* found .*\[1, 1, 64, 32\]"),
        ({"c_dim": 3}, r"Expected shapes \[\[9, 9, 3, 64\].*, found \[\[9, 9, 1, 64\]"),
    ],
)
def test_weights_of_something_else_are_refused_with_both_shown(name, changes, said):
    published()
    with pytest.raises(RunError, match=said):
        checkpoint.restored_model(Config(weights=str(Path("run", name)), **changes))


@pytest.mark.parametrize("name", ["SRCNN.weights.h5", "SRCNN.keras"])
@pytest.mark.parametrize("size", [0, 100, 20000])
def test_damaged_weights_are_named(name, size):
    published()
    path = Path("run", name)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunError, match=name):
        checkpoint.restored_model(Config(weights=str(path)))


def test_flipped_bits_in_weights_are_noticed():
    published()
    path = Path("run/SRCNN.weights.h5")
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        content[file["layers/conv2d/vars/0"].id.get_offset() + 1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"SRCNN\.weights\.h5: cannot be read .*checksum"):
        checkpoint.restored_model(Config(weights="run"))


def test_weights_that_are_not_numbers_are_refused():
    model = checkpoint.build(Config())
    model.set_weights([np.nan * values for values in model.get_weights()])
    checkpoint.publish(model, Config(), Path("run"))
    with pytest.raises(RunError, match="not finite numbers"):
        checkpoint.restored_model(Config(weights="run"))


def test_missing_weights_are_named():
    with pytest.raises(RunError, match=r"--weights=nowhere: there is no such file"):
        checkpoint.restored_model(Config(weights="nowhere"))


def test_weights_without_a_name_of_their_own_are_taken_by_shape():
    model = published()
    with h5py.File("run/SRCNN.weights.h5", "a") as file:
        del file.attrs["network"]
    assert_same_weights(checkpoint.restored_model(Config(weights="run", scale=4))[0], model)


def test_checkpoints_of_the_references_code_are_read(golden):
    truth = np.load(golden / "reference_training.npz")
    path = golden / "checkpoint" / "srcnn_21" / "SRCNN.model-500"
    model, _ = checkpoint.restored_model(Config(weights=str(path)))
    expected = [truth[f"final_{kind}{number}"] for number in (1, 2, 3) for kind in "wb"]
    for found, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_the_references_published_weights_are_read(shared):
    path = shared / "reference" / "srcnn_21" / "SRCNN.model-2550000"
    model, source = checkpoint.restored_model(Config(weights=str(path)))
    assert source == str(path)
    assert model.get_weights()[0].std() > 0.01


# --- checkpoints ---


def test_checkpoints_are_restored_and_the_oldest_deleted():
    value = tf.Variable(0.0)
    run = checkpoint.Checkpoints(Path("run"), value=value)
    for step in range(500, 3000, 500):
        value.assign(step)
        run.save(step)
    kept = sorted(path.name for path in Path("run").glob("*.index"))
    assert kept == ["SRCNN.model-1500.index", "SRCNN.model-2000.index", "SRCNN.model-2500.index"]
    again = tf.Variable(0.0)
    later = checkpoint.Checkpoints(Path("run"), value=again)
    later.restore()
    assert float(again) == 2500
    later.save(3000)
    assert not Path("run/SRCNN.model-1500.index").exists()


@pytest.mark.parametrize("damage", ["data", "index"])
def test_damaged_checkpoint_says_what_to_delete_and_the_one_before_is_used(damage):
    value = tf.Variable(np.zeros(1000, np.float32))
    run = checkpoint.Checkpoints(Path("run"), value=value)
    for step in (500, 1000):
        value.assign(np.full(1000, step, np.float32))
        run.save(step)
    (path,) = Path("run").glob(f"SRCNN.model-1000.{damage}*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"Delete run/SRCNN\.model-1000\.\* .* goes on from SRCNN\.model-500"):
        checkpoint.Checkpoints(Path("run"), value=value).restore()
    for file in Path("run").glob("SRCNN.model-1000.*"):
        file.unlink()
    checkpoint.Checkpoints(Path("run"), value=value).restore()
    assert value.numpy()[0] == 500


def test_half_of_a_checkpoint_is_not_one():
    run = checkpoint.Checkpoints(Path("run"), value=tf.Variable(1.0))
    run.save(500)
    Path("run/SRCNN.model-1000.data-00000-of-00001").write_bytes(b"cut by kill -9")
    assert checkpoint.latest(Path("run")) == Path("run/SRCNN.model-500")


def test_checkpoint_that_cannot_be_written_is_named():
    Path("run").touch()
    with pytest.raises(RunError, match=r"run/SRCNN\.model-500: cannot be written"):
        checkpoint.Checkpoints(Path("run"), value=tf.Variable(1.0)).save(500)


@pytest.mark.parametrize("folder", ["run", "a [b]* c"])
def test_a_folder_may_have_any_name(folder):
    run = checkpoint.Checkpoints(Path(folder), value=tf.Variable(1.0))
    for step in range(1, 6):
        run.save(step)
    assert checkpoint.latest(Path(folder)) == Path(folder, "SRCNN.model-5")
    assert len(list(Path(folder).iterdir())) == 2 * checkpoint.KEEP + 1


def test_tensorflow_finds_the_newest_checkpoint():
    run = checkpoint.Checkpoints(Path("run"), value=tf.Variable(1.0))
    for step in (500, 1000):
        run.save(step)
    assert tf.train.latest_checkpoint("run") == "run/SRCNN.model-1000"


def test_what_a_killed_process_left_is_cleared_away():
    run = checkpoint.Checkpoints(Path("run"), value=tf.Variable(1.0))
    for clean in (lambda: run.save(1000), lambda: checkpoint.clear(Path("run"))):
        Path("run/SRCNN.model-500_temp").mkdir(parents=True)
        Path("run/SRCNN.model-500_temp/part-00000").touch()
        clean()
        assert not Path("run/SRCNN.model-500_temp").exists()


def test_clear_deletes_a_runs_files_alone():
    checkpoint.Checkpoints(Path("run"), value=tf.Variable(1.0)).save(500)
    published()
    Path("run/notes.txt").touch()
    checkpoint.clear(Path("run"))
    assert [path.name for path in Path("run").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "content",
    [
        None,
        "",
        "{}",
        "[1]",
        '{"config": {"precision": "of another version"}, "data": {"sha256": "", "pictures": 1}, "step": 1}',
        '{"config": {"scale": 0}, "data": {"sha256": "", "pictures": 1}, "step": 1}',
    ],
)
def test_damaged_record_is_named(content):
    Path("run").mkdir()
    if content is not None:
        Path("run/config.json").write_text(content)
    with pytest.raises(RunError, match=r"run/config\.json: cannot be read .*--resume=False"):
        checkpoint.read_record(Path("run"))
