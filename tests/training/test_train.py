import contextlib
import csv
import dataclasses
import json
import re
import shutil
import signal
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import drawn

from srcnn_tf import utils
from srcnn_tf.config import RECIPES, Config
from srcnn_tf.errors import RunError, StoppedError
from srcnn_tf.images.read import read_image
from srcnn_tf.training import patches as pairs
from srcnn_tf.training.recovery import Recovery
from srcnn_tf.training.step import State, _flip, make_step, part_sizes
from srcnn_tf.training.train import train
from srcnn_tf.weights import checkpoint


class Losses(keras.callbacks.Callback):
    """Keeps what a training says; may do something at a step."""

    def __init__(self, at=None, action=None):
        super().__init__()
        self.at, self.action = at, action
        self.steps, self.losses, self.rates, self.epochs = [], [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append(batch)
        self.losses.append(float(logs["loss"]))
        self.rates.append(float(logs["learning_rate"]))
        if batch == self.at:
            self.action(self.model)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append((epoch, dict(logs)))


@pytest.fixture
def pictures(make_picture):
    """Twelve sub-images of three pictures."""
    for number in range(3):
        make_picture(f"Train/{number}.png", seed=number)


def weights(folder="checkpoint/srcnn_21_x3_scipy"):
    return checkpoint.restored_model(Config(weights=folder))[0].get_weights()


def assert_equal_weights(found, expected, tolerance=0.0):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


@pytest.fixture
def given(monkeypatch):
    """The places of the pairs that training asks for, in order; nothing is learned."""
    places_given = []

    def steps(state, config, batch_size, xla):
        def run(data, label, places, rates):
            assert places.shape[1] == batch_size
            places_given.extend(places.ravel().tolist())
            state.step.assign_add(len(places))
            return keras.ops.ones(len(places))

        return run

    monkeypatch.setattr("srcnn_tf.training.train.compile_steps", steps)
    return places_given


# --- the reference ---


def test_recipe_reference_gives_the_references_losses_and_weights(golden):
    truth = np.load(golden / "reference_training.npz")
    seen = Losses()
    config = Config(
        recipe="reference",
        epoch=100,
        batch_size=8,
        learning_rate=0.05,
        train_dir=str(golden / "Train"),
        weights=str(golden / "checkpoint" / "srcnn_21" / "SRCNN.model-0"),
    )
    train(config, [seen])
    losses = dict(zip(seen.steps, seen.losses, strict=True))
    np.testing.assert_allclose([losses[step] for step in truth["step"]], truth["loss"], rtol=1e-4)
    expected = [truth[f"final_{kind}{number}"] for number in (1, 2, 3) for kind in "wb"]
    assert_equal_weights(weights(), expected, 1e-5)
    assert seen.rates == [np.float32(0.05)] * len(seen.rates)


@pytest.mark.usefixtures("pictures")
def test_recipe_reference_refuses_less_than_a_batch():
    with pytest.raises(RunError, match=r"12 sub-images of 3 pictures below Train do not fill one batch of 13"):
        train(Config(recipe="reference", epoch=1, batch_size=13))


@pytest.mark.usefixtures("pictures")
def test_recipe_reference_keeps_its_order_and_drops_the_rest(given):
    train(Config(recipe="reference", epoch=2, batch_size=5))
    assert given == list(range(10)) * 2


# --- the paper ---


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("architecture", ["9-1-5", "9-3-5"])
def test_recipe_paper_is_the_authors_solver(architecture):
    config = Config(
        recipe="paper", epoch=4, batch_size=12, precision="float32", degradation="matlab", architecture=architecture
    )
    model = State(config).model
    train(config)
    data, label = utils.read_data("checkpoint/train.h5")
    # Caffe's EuclideanLoss: half the sum of squares, per patch. Rates as printed, biases' as in the solver.
    rates = [1e-4, 1e-5, 1e-4, 1e-5, 1e-5, 1e-5]
    moving = [0.0] * 6
    for _ in range(4):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model(data) - label)) / (2 * len(data))
        gradients = tape.gradient(loss, model.trainable_variables)
        for number, (rate, gradient) in enumerate(zip(rates, gradients, strict=True)):
            moving[number] = 0.9 * moving[number] + rate * gradient
            model.trainable_variables[number].assign_sub(moving[number])
    found = checkpoint.restored_model(Config(degradation="matlab", architecture=architecture))[0]
    start = State(config).model.get_weights()
    for one, other, before in zip(found.get_weights(), model.get_weights(), start, strict=True):
        np.testing.assert_allclose(one - before, other - before, rtol=1e-3, atol=1e-7)


@pytest.mark.usefixtures("pictures")
def test_recipe_paper_shuffles_once(given):
    train(Config(recipe="paper", epoch=2, batch_size=4))
    assert given[:12] == given[12:]
    assert sorted(given[:12]) == list(range(12))
    assert given[:12] != list(range(12))


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("changes", "run", "parameters"),
    [
        ({"architecture": "9-3-5"}, "srcnn_19_x3_scipy_9-3-5", 24513),
        ({"architecture": "9-5-5"}, "srcnn_17_x3_scipy_9-5-5", 57281),
        ({"architecture": "11-1-7"}, "srcnn_17_x3_scipy_11-1-7", 7744 + 64 + 2048 + 32 + 1568 + 1),
        ({"filters": "32,16"}, "srcnn_21_x3_scipy_32-16", 2592 + 32 + 512 + 16 + 400 + 1),
        ({"filters": "128,64", "architecture": "9-3-5"}, "srcnn_19_x3_scipy_9-3-5_128-64", None),
    ],
)
def test_every_architecture_is_trained_and_found_again(changes, run, parameters):
    train(Config(epoch=1, **changes))
    model, source = checkpoint.restored_model(Config(**changes))
    assert source == f"checkpoint/{run}/SRCNN.weights.h5"
    assert parameters in (model.count_params(), None)
    with pytest.raises(RunError, match="weights of another architecture"):
        checkpoint.restored_model(Config(weights=f"checkpoint/{run}"))


# --- the modern recipe ---


@pytest.mark.usefixtures("pictures")
def test_a_small_set_is_learned():
    seen = Losses()
    train(Config(epoch=150, seed=3), [seen])
    assert seen.steps[-1] == 150  # one batch of all 12 an epoch
    assert np.mean(seen.losses[-5:]) < 0.1 * seen.losses[0]
    assert max(seen.rates) == pytest.approx(Config().learning_rate, rel=0.05)
    assert seen.rates[0] < 0.1 * max(seen.rates)
    assert seen.rates[-1] < 1e-3 * max(seen.rates)


@pytest.mark.usefixtures("pictures")
def test_each_epoch_goes_over_every_pair_in_another_order(given):
    train(Config(epoch=2, batch_size=4))
    first, second = given[:12], given[12:]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


def test_flips_turn_both_halves_alike_and_reach_all_eight():
    data = np.stack([drawn(33, 33, 1)[..., :1]] * 200).astype(np.float32)
    turned, label = (values.numpy() for values in _flip(data, data[:, 6:27, 6:27], np.array([0, 5], np.int64)))
    np.testing.assert_array_equal(turned[:, 6:27, 6:27], label)
    image = data[0]
    turns = [turn for flip in (image, image[:, ::-1]) for turn in (np.rot90(flip, times) for times in range(4))]
    reached = {number for picture in turned for number, turn in enumerate(turns) if np.array_equal(picture, turn)}
    assert reached == set(range(8))
    again = _flip(data, data, np.array([0, 6], np.int64))[0].numpy()
    assert not np.array_equal(turned, again)


@pytest.mark.parametrize(("count", "held_out"), [(19, 0), (20, 1), (40, 2)])
def test_part_of_the_pictures_is_held_out(count, held_out, make_picture):
    for number in range(count):
        make_picture(f"Train/{number:02d}.png", rows=36, cols=36, seed=number)
    config = Config(epoch=1)
    paths = utils.prepare_data("Train")
    found = pairs.load_pairs(config, paths, "hash")
    assert len(found.held_out) == held_out
    assert len(found.used) == count - held_out
    # One pair a picture here, so that places are pictures.
    assert {paths[place] for place in found.used}.isdisjoint(found.held_out)
    other = pairs.load_pairs(Config(epoch=1, seed=9), paths, "hash")
    assert other.held_out == found.held_out
    assert pairs.load_pairs(Config(validation_split=0.0), paths, "hash").held_out == []


def test_held_out_pictures_are_measured_each_epoch(make_picture):
    for number in range(20):
        make_picture(f"Train/{number:02d}.png", seed=number)
    seen = Losses()
    train(Config(epoch=3, stride=30), [seen])
    held_out = utils.prepare_data("Train")[10]
    degraded, original = utils.degraded_pair(read_image(held_out))
    from srcnn_tf.inference.tiling import Reconstructor, score

    found = seen.epochs[-1][1]
    assert [epoch for epoch, _ in seen.epochs] == [0, 1, 2]
    assert found["held-out/psnr_bicubic"] == pytest.approx(score(degraded, original, Config()).psnr)
    # What is measured is what is published.
    model = checkpoint.restored_model(Config())[0]
    expected = score(Reconstructor(model)(degraded), original, Config())
    assert found["held-out/psnr"] == pytest.approx(expected.psnr, abs=1e-3)
    assert found["held-out/ssim"] == pytest.approx(expected.ssim, abs=1e-4)


@pytest.mark.usefixtures("pictures")
def test_published_weights_are_the_average():
    states = []

    def keep(model):
        states.append([values.copy() for values in model.get_weights()])

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            keep(self.model)

    # Calls end at multiples of 10 steps and with the epoch, so one step an epoch shows each one.
    start = State(Config(epoch=6)).model.get_weights()
    train(Config(epoch=6), [Keep()])
    average = start
    for step, now in enumerate(states):
        decay = min(0.999, (1 + step) / (10 + step))
        average = [decay * mean + (1 - decay) * value for mean, value in zip(average, now, strict=True)]
    assert_equal_weights(weights(), average, 1e-6)


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("color_space", ["ycbcr", "rgb"])
def test_colour_is_trained(color_space):
    train(Config(epoch=2, c_dim=3, color_space=color_space))
    model, source = checkpoint.restored_model(Config(c_dim=3, color_space=color_space))
    assert source == f"checkpoint/srcnn_21_x3_scipy_{color_space}/SRCNN.weights.h5"
    assert model.output_shape[-1] == 3
    other = Config(c_dim=3, color_space="rgb" if color_space == "ycbcr" else "ycbcr", weights=source)
    with pytest.raises(
        RunError, match=f"weights of srcnn_x3_scipy_{color_space}, but .*--color_space={other.color_space}"
    ):
        checkpoint.restored_model(other)


def test_a_batch_in_parts_is_the_whole_batch(make_picture):
    make_picture("Train/a.png", rows=120, cols=120)
    config = Config(recipe="reference", epoch=1, batch_size=50, stride=10, learning_rate=0.1)
    assert len(set(part_sizes(50, tf.float32))) == 2  # of uneven parts
    model = State(config).model
    train(config)
    data, label = utils.read_data("checkpoint/train.h5")
    assert len(data) == 81  # one step
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(data[:50]) - label[:50]))
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        variable.assign_sub(0.1 * gradient)
    assert_equal_weights(weights(), model.get_weights(), 1e-7)


def as_on_a_gpu(monkeypatch):
    """Takes all the decisions that are taken on a GPU; what is computed is computed here."""
    for module in ("forward", "step", "train"):
        monkeypatch.setattr(f"srcnn_tf.{module}.has_gpu", lambda: True)


def test_what_a_gpu_gets_learns_the_same(make_picture, monkeypatch):
    """Whole batches, XLA, many steps a call: as the processor's parts, to rounding."""
    for number in range(6):
        make_picture(f"Train/{number}.png", rows=75, cols=75, seed=number)
    config = Config(epoch=3, batch_size=4, stride=14, precision="float32", seed=2)
    seen, expected = Losses(), Losses()
    train(dataclasses.replace(config, checkpoint_dir="processor"), [expected])
    as_on_a_gpu(monkeypatch)
    train(config, [seen])
    assert len(seen.steps) == 3 < len(expected.steps)  # a call an epoch
    for (_, one), (_, other) in zip(seen.epochs, expected.epochs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.2)


@pytest.mark.usefixtures("pictures")
def test_a_step_compiled_for_a_gpu_is_the_same_step(monkeypatch):
    config = Config(recipe="reference", epoch=1, batch_size=12, learning_rate=0.1)
    train(dataclasses.replace(config, checkpoint_dir="processor"))
    as_on_a_gpu(monkeypatch)
    train(config)
    start = State(config).model.get_weights()
    moved = [np.abs(one - other).max() for one, other in zip(weights(), start, strict=True)]
    assert max(moved) > 1e-3
    assert_equal_weights(weights(), weights("processor/srcnn_21_x3_scipy"), 1e-6)


def test_an_expanded_step_compiled_for_a_gpu_is_the_same_step():
    rng = np.random.default_rng(0)
    data, label = (tf.constant(rng.random((4, side, side, 1)), tf.float32) for side in (33, 21))
    found = []
    for xla in (False, True):
        state = State(Config())
        state.optimizer = keras.optimizers.SGD(1e-3)
        state.optimizer.build(state.expansion.trained())
        step = tf.function(make_step(state, RECIPES["modern"], tf.float32, xla), autograph=False)
        for _ in range(3):
            step(data, label)
        found.append([variable.numpy() for variable in state.expansion.trained()])
    start = [variable.numpy() for variable in State(Config()).expansion.trained()]
    assert min(np.abs(one - other).max() for one, other in zip(found[0], start, strict=True)) > 1e-6
    assert_equal_weights(found[0], found[1], 1e-6)


# --- stopping and going on ---


@pytest.fixture(params=["in memory", "in windows"])
def memory(request, monkeypatch):
    """Pairs in memory, or read six at a time."""
    if request.param == "in windows":
        monkeypatch.setattr(pairs, "IN_MEMORY", 0)
        monkeypatch.setattr(pairs, "WINDOW", 6 * utils.pair_bytes(Config()))


@pytest.mark.usefixtures("pictures", "memory")
@pytest.mark.parametrize("recipe", ["modern", "reference", "paper"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(recipe, capsys):
    def config(folder):
        return Config(recipe=recipe, epoch=8, batch_size=3, learning_rate=1e-3, checkpoint_dir=folder)

    train(config("whole"))
    stop = Losses(at=10, action=lambda model: signal.raise_signal(signal.SIGINT))
    with pytest.raises(
        StoppedError, match=r"Stopped by SIGINT; the newest checkpoint is of step 10 of 32\. The same"
    ) as said:
        train(config("parts"), [stop])
    assert "--epoch=8" in str(said.value)
    assert stop.steps[-1] == 10
    seen = Losses()
    train(config("parts"), [seen])
    assert seen.steps[0] > 10
    assert seen.steps[-1] == 32
    assert "Going on after step 10 of 32" in capsys.readouterr().out
    expected = weights("whole/srcnn_21_x3_scipy")
    assert_equal_weights(weights("parts/srcnn_21_x3_scipy"), expected, 1e-7)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(("at", "epoch"), [(8, 2), (12, 3)])
def test_stopped_with_an_epochs_last_step_it_is_measured_and_kept(at, epoch, capsys):
    stop = Losses(at=at, action=lambda model: signal.raise_signal(signal.SIGINT))
    with contextlib.nullcontext() if at == 12 else pytest.raises(StoppedError, match="of step 8 of 12"):
        train(Config(epoch=3, batch_size=3), [stop])
    assert len(history()) == epoch
    assert ("Done: 12 steps" in capsys.readouterr().out) == (at == 12)


@pytest.mark.usefixtures("pictures")
def test_a_finished_training_says_so_and_a_larger_epoch_goes_on(capsys):
    train(Config(epoch=3))
    before = weights()
    seen = Losses()
    train(Config(epoch=3), [seen])
    train(Config(epoch=2), [seen])
    assert seen.steps == []
    assert capsys.readouterr().out.count("is finished: 3 epochs, 3 steps. A larger --epoch goes on") == 2
    assert_equal_weights(weights(), before)
    train(Config(epoch=5), [seen])
    assert seen.steps == [4, 5]
    assert json.loads(Path("checkpoint/srcnn_21_x3_scipy/config.json").read_text())["step"] == 5


@pytest.mark.usefixtures("pictures")
def test_a_longer_run_that_is_stopped_goes_on_as_if_it_had_not_been(capsys):
    def config(folder, epoch):
        return Config(epoch=epoch, batch_size=3, checkpoint_dir=folder)

    for folder in ("whole", "parts"):
        train(config(folder, 3))
    said = "The run was to end after 3 epochs, now after 8: the rate goes from 0.0e+00 to"
    train(config("whole", 8))
    assert said in capsys.readouterr().out
    with pytest.raises(StoppedError):
        train(config("parts", 8), [Losses(at=20, action=lambda model: signal.raise_signal(signal.SIGINT))])
    assert said in capsys.readouterr().out
    train(config("parts", 8))
    assert said not in capsys.readouterr().out
    assert_equal_weights(weights("parts/srcnn_21_x3_scipy"), weights("whole/srcnn_21_x3_scipy"), 1e-7)


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": "reference", "batch_size": 4}, "--recipe was modern, now reference"),
        ({"seed": 1}, "--seed was 0, now 1"),
        ({"weights": "given"}, "--weights was None, now given"),
    ],
)
def test_another_configuration_in_the_same_folder_is_refused(changes, said, capsys):
    train(Config(epoch=2))
    before = weights()
    with pytest.raises(RunError, match=re.escape(said)) as refused:
        train(Config(**{"epoch": 3} | changes))
    assert "--resume=False to begin anew" in str(refused.value)
    assert_equal_weights(weights(), before)


@pytest.mark.usefixtures("pictures")
def test_other_pictures_in_the_same_folder_are_refused_before_anything_is_written(make_picture):
    train(Config(epoch=2))
    stamp = Path("checkpoint/train.h5").stat().st_mtime_ns
    make_picture("Train/new.png", seed=8)
    with pytest.raises(RunError, match=r"the training pictures were others \(3 below Train\)"):
        train(Config(epoch=3))
    assert Path("checkpoint/train.h5").stat().st_mtime_ns == stamp
    train(Config(epoch=1, resume=False))
    assert json.loads(Path("checkpoint/srcnn_21_x3_scipy/config.json").read_text())["data"]["pictures"] == 4


@pytest.mark.usefixtures("pictures")
def test_a_run_killed_before_its_weights_were_written_writes_them_the_next_time(monkeypatch):
    class KilledError(BaseException):
        pass

    def killed(*arguments):
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "publish", killed)
        with pytest.raises(KilledError):
            train(Config(epoch=2))
    assert not Path("checkpoint/srcnn_21_x3_scipy/SRCNN.weights.h5").exists()
    train(Config(epoch=2))
    assert len(weights()) == 6


@pytest.mark.usefixtures("pictures")
def test_an_earlier_run_stays_until_the_new_one_has_something():
    train(Config(epoch=2))
    before = weights()
    stop = Losses(at=1, action=lambda model: (_ for _ in ()).throw(RuntimeError("a crash")))
    with pytest.raises(RuntimeError, match="a crash"):
        train(Config(epoch=5, resume=False), [stop])
    assert_equal_weights(weights(), before)


@pytest.mark.usefixtures("pictures")
def test_beginning_anew_leaves_nothing_of_the_run_before():
    train(Config(epoch=4))
    train(Config(epoch=2, resume=False, seed=5))
    found = sorted(path.name for path in Path("checkpoint/srcnn_21_x3_scipy").glob("*.index"))
    assert found == ["SRCNN.model-2.index"]
    assert len(list(Path("logs/srcnn_21_x3_scipy").glob("events*"))) == 1


@pytest.mark.usefixtures("pictures")
def test_weights_to_start_from(golden):
    start = golden / "checkpoint" / "srcnn_21" / "SRCNN.model-500"
    config = Config(epoch=1, weights=str(start), learning_rate=1e-12)
    train(config)
    assert_equal_weights(weights(), checkpoint.restored_model(Config(weights=str(start)))[0].get_weights(), 1e-6)


@pytest.mark.usefixtures("pictures")
def test_going_on_does_not_need_the_weights_it_began_with(golden):
    for name in ("index", "data-00000-of-00001"):
        shutil.copy(golden / "checkpoint" / "srcnn_21" / f"SRCNN.model-500.{name}", f"start.{name}")
    train(Config(epoch=1, weights="start"))
    Path("start.index").unlink()
    train(Config(epoch=2, weights="start"))


@pytest.mark.usefixtures("pictures")
def test_missing_weights_are_found_out_before_anything_is_written():
    with pytest.raises(RunError, match="--weights=nowhere: there is no such file"):
        train(Config(epoch=1, weights="nowhere"))
    assert not Path("checkpoint").exists()


@pytest.mark.usefixtures("pictures")
def test_damaged_checkpoint_is_named():
    train(Config(epoch=2))
    path = Path("checkpoint/srcnn_21_x3_scipy/SRCNN.model-2.data-00000-of-00001")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(RunError, match=r"Delete checkpoint/srcnn_21_x3_scipy/SRCNN\.model-2\.\* .* begins anew"):
        train(Config(epoch=3))


def history(run="srcnn_21_x3_scipy"):
    with open(f"logs/{run}/history.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_history_has_a_row_an_epoch_of_all_that_was_measured(make_picture):
    for number in range(20):
        make_picture(f"Train/{number:02d}.png", seed=number)
    seen = Losses()
    train(Config(epoch=3, stride=30), [seen])
    rows = history()
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for row, (_, logs) in zip(rows, seen.epochs, strict=True):
        assert row.keys() == {"epoch"} | logs.keys()
        assert {"loss", "learning_rate", "patches_per_second", "seconds", "held-out/psnr"} <= logs.keys()
        assert all(float(row[name]) == pytest.approx(logs[name]) for name in logs)


@pytest.mark.usefixtures("pictures")
def test_history_of_a_killed_run_has_each_epoch_once():
    kill = Losses(at=36, action=lambda model: (_ for _ in ()).throw(KeyboardInterrupt))
    stop = Losses(at=20, action=lambda model: signal.raise_signal(signal.SIGINT))
    for callback in (stop, kill, Losses()):
        with contextlib.suppress(StoppedError, KeyboardInterrupt):
            train(Config(epoch=12, batch_size=3), [callback])
    assert [row["epoch"] for row in history()] == [str(epoch) for epoch in range(1, 13)]
    train(Config(epoch=2, batch_size=3, resume=False))
    assert [row["epoch"] for row in history()] == ["1", "2"]


@pytest.mark.usefixtures("pictures")
def test_a_held_out_picture_that_vanishes_leaves_its_columns_empty(make_picture):
    for number in range(20):
        make_picture(f"Train/{number:02d}.png", seed=number)
    held_out = []

    class Vanish(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                for path in held_out:
                    path.unlink()

    config = Config(epoch=2)
    paths = utils.prepare_data("Train")
    held_out += pairs.load_pairs(config, paths, "other").held_out
    train(config, [Vanish()])
    first, second = history()
    assert float(first["held-out/psnr"]) > 0
    assert second["held-out/psnr"] == ""
    assert float(second["loss"]) > 0


# --- what goes wrong on the way ---


def spoil(model):
    model.set_weights([30 * values for values in model.get_weights()])


@pytest.mark.usefixtures("pictures")
def test_windows_learn_what_memory_does(monkeypatch):
    config = Config(recipe="reference", epoch=4, batch_size=3, learning_rate=0.1)
    train(dataclasses.replace(config, checkpoint_dir="memory"))
    monkeypatch.setattr(pairs, "IN_MEMORY", 0)
    monkeypatch.setattr(pairs, "WINDOW", 6 * utils.pair_bytes(Config()))
    train(config)
    assert_equal_weights(weights(), weights("memory/srcnn_21_x3_scipy"), 1e-7)


@pytest.mark.usefixtures("pictures", "memory")
@pytest.mark.parametrize(
    ("at", "batch_size", "epochs"),
    [(160, 1, 24), (156, 1, 24), (60, 128, 90)],
    ids=["mid-epoch", "last step of an epoch", "a short run of one-step epochs"],
)
def test_a_spike_does_not_ruin_a_run(at, batch_size, epochs, capsys):
    seen = Losses(at=at, action=spoil)
    train(Config(epoch=epochs, batch_size=batch_size), [seen])
    assert re.search(r"Warning: the loss of epoch \d+ exploded to .* at half the rate", capsys.readouterr().out)
    spike = seen.steps.index(at)
    assert max(seen.losses[spike:]) > 5 * max(seen.losses[spike - 5 : spike])
    assert np.mean(seen.losses[-5:]) < 2 * np.mean(seen.losses[spike - 5 : spike])
    assert all(np.isfinite(values).all() for values in weights())


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(("at", "epochs"), [(10, 1), (20, 2)])
def test_a_loss_that_becomes_nan_never_ends_in_random_weights(at, epochs):
    def make_nan(model):
        model.set_weights([np.nan * values for values in model.get_weights()])

    with pytest.raises(RunError, match="no checkpoint had been written"):
        train(Config(epoch=epochs, batch_size=1), [Losses(at, make_nan)])
    assert not Path("checkpoint/srcnn_21_x3_scipy").exists()


def test_going_back_takes_the_factors_along():
    state = State(Config())
    recovery = Recovery(state, enabled=True)
    good = [variable.numpy() for variable in state.expansion.trained()]
    for variable in state.expansion.trained():
        variable.assign(variable + 1)
    assert recovery.go_back(last_epoch=False)
    assert_equal_weights([variable.numpy() for variable in state.expansion.trained()], good)


@pytest.mark.usefixtures("pictures")
def test_the_rest_of_an_epoch_sets_no_measure():
    state = State(Config())
    state.step.assign(1000)
    recovery = Recovery(state, enabled=True)
    recovery.keep([1e-9], whole_epoch=False)
    assert recovery.sound([0.01] * 50, whole_epoch=True)
    recovery.keep([0.01] * 50, whole_epoch=True)
    assert not recovery.sound([0.03] * 50, whole_epoch=True)
    # A spike at the end of a long epoch.
    assert not recovery.sound([0.01] * 10000 + [0.03] * 100, whole_epoch=True)


@pytest.mark.usefixtures("pictures")
def test_a_rate_far_too_high_ends_with_an_error_and_no_weights():
    with pytest.raises(RunError, match=r"The loss became .* no checkpoint had been written"):
        train(Config(epoch=40, learning_rate=100.0))
    assert not Path("checkpoint/srcnn_21_x3_scipy").exists()


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("recipe", ["modern", "reference"])
def test_a_loss_that_becomes_nan_stops_and_keeps_the_last_good_checkpoint(recipe):
    config = Config(recipe=recipe, epoch=100, batch_size=1, learning_rate=1e-4)

    class SpoilAlways(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch > 520:
                self.model.set_weights([np.nan * values for values in self.model.get_weights()])

    with pytest.raises(
        RunError, match=r"The loss became .* last good checkpoint is .*model-500\. Begin anew .*--resume"
    ):
        train(config, [SpoilAlways()])
    assert checkpoint.latest(Path("checkpoint/srcnn_21_x3_scipy")).name == "SRCNN.model-500"
    assert all(np.isfinite(values).all() for values in weights())


@pytest.mark.usefixtures("pictures")
def test_a_callback_may_stop_the_training():
    def stop(model):
        model.stop_training = True

    seen = Losses(at=3, action=stop)
    train(Config(epoch=10), [seen])
    assert seen.steps == [1, 2, 3]
    assert checkpoint.latest(Path("checkpoint/srcnn_21_x3_scipy")).name == "SRCNN.model-3"


def test_an_unreadable_picture_is_a_warning(pictures, capsys):
    Path("Train/broken.png").write_bytes(b"nothing")
    train(Config(epoch=1))
    output = capsys.readouterr().out
    assert "Warning: Train/broken.png: cannot be read" in output
    assert "12 sub-images of 3 pictures" in output
