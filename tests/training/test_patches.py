import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from srcnn_tf import patch_file, utils
from srcnn_tf.config import Config
from srcnn_tf.datasets.samples import find_images
from srcnn_tf.errors import RunError
from srcnn_tf.training import patches
from srcnn_tf.training.patches import epoch_batches, epoch_patches, load_training_set, shards
from srcnn_tf.training.recipes import RECIPES

MODERN = RECIPES["modern"]


@pytest.fixture
def config(make_image):
    """Five images of 80 patches each: 25 batches, and seven shards, the last one not full."""
    for number in range(5):
        make_image(f"Train/{number}.png", rows=78, cols=87, seed=number)
    return Config(stride=6, batch_size=16, epoch=4, validation_split=0.0)


def load(config, recipe=MODERN):
    return load_training_set(config, recipe, find_images(config, "train_dir"), "hash")


@pytest.fixture
def larger_than_memory(monkeypatch):
    """Two batches in a shard."""
    monkeypatch.setattr(utils, "MAX_PATCH_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr(patches, "SHARD_BYTES", 2 * 16 * patch_file.patch_bytes(Config()))


@pytest.mark.parametrize("memory", ["in memory", "in windows"])
@pytest.mark.parametrize("recipe", ["modern", "reference", "paper"])
def test_windows_are_all_batches_of_all_epochs_from_any_step(config, recipe, memory, request):
    if memory == "in windows":
        request.getfixturevalue("larger_than_memory")
    recipe = dataclasses.replace(RECIPES[recipe], grid_offsets=False)
    config = dataclasses.replace(config, epoch=2)
    training_set = load(config, recipe)
    assert (training_set.in_memory, training_set.steps_per_epoch) == (memory == "in memory", 25)
    first, second = (epoch_batches(training_set, config, recipe, epoch) for epoch in range(2))
    assert first.shape == second.shape == (25, 16)
    assert sorted(first.ravel()) == sorted(second.ravel()) == list(range(400))
    assert np.array_equal(first.ravel(), np.arange(400)) == (recipe.shuffle == "never")
    assert np.array_equal(first, second) == (recipe.shuffle != "each epoch")
    other = epoch_batches(training_set, dataclasses.replace(config, seed=1), recipe, 0)
    assert np.array_equal(first, other) == (recipe.shuffle == "never")
    expected = np.concatenate([first, second])
    data, label = utils.read_data(training_set.file)
    for first_step in (0, 2, 5, 24, 25, 49):
        loaded = list(shards(training_set, config, recipe, first_step))
        sizes = [len(shard.batches) for shard in loaded]
        if training_set.in_memory:
            assert sizes == [50 - first_step] if first_step >= 25 else [25 - first_step, 25]
        else:
            assert max(sizes) <= 2
            assert max(len(shard.data) for shard in loaded) <= 2 * 16
        for array, name in ((data, "data"), (label, "label")):
            parts = [np.array(getattr(shard, name))[shard.batches] for shard in loaded]
            np.testing.assert_array_equal(np.concatenate(parts), array[expected[first_step:]])


def test_each_epoch_has_other_grid_offsets_which_depend_on_seed_and_epoch_alone(config):
    training_set = load(config)
    epochs = [epoch_patches(training_set, config, MODERN, epoch) for epoch in range(4)]
    data, label = utils.read_data(training_set.file)
    np.testing.assert_array_equal(epochs[0][0], data)
    chosen = []
    for number, image in enumerate(training_set.images):
        known = {
            offset: patch_file.extract_patches(*utils.preprocess(image, config, 1, offset), config)[0]
            for offset in itertools.product(range(3), repeat=2)
        }
        for epoch in epochs[1:]:
            part = epoch[0][80 * number : 80 * number + 80]
            chosen += [offset for offset, patches in known.items() if np.array_equal(patches, part)]
    assert len(chosen) == 15
    assert len(set(chosen)) >= 5  # of nine
    for shard, (data, _) in zip(shards(training_set, config, MODERN, 50), epochs[2:], strict=True):
        np.testing.assert_array_equal(shard.data, data)
        np.testing.assert_array_equal(shard.label, label)
    other = epoch_patches(training_set, dataclasses.replace(config, seed=1), MODERN, 2)[0]
    assert not np.array_equal(other, epochs[2][0])
    without = dataclasses.replace(MODERN, grid_offsets=False)
    np.testing.assert_array_equal(epoch_patches(training_set, config, without, 2)[0], epochs[0][0])


@pytest.mark.parametrize("recipe", ["modern", "reference"])
def test_each_epoch_has_another_compression_which_depends_on_seed_and_epoch_alone(config, recipe):
    config = dataclasses.replace(config, degradation="jpeg")
    training_set = load(config, RECIPES[recipe])
    epochs = [epoch_patches(training_set, config, RECIPES[recipe], epoch) for epoch in range(3)]
    np.testing.assert_array_equal(epochs[0][0], utils.read_data(training_set.file)[0])
    for (data, label), (other_data, other_label) in itertools.combinations(epochs, 2):
        parts = np.abs(data - other_data).reshape(5, -1).max(axis=1)
        assert (parts > 0.005).sum() >= 4, "one image may be left as it is twice"
        np.testing.assert_array_equal(label, other_label)
    for shard, (data, _) in zip(shards(training_set, config, RECIPES[recipe], 50), epochs[2:], strict=False):
        np.testing.assert_array_equal(shard.data, data)
    again = epoch_patches(training_set, config, RECIPES[recipe], 2)[0]
    np.testing.assert_array_equal(again, epochs[2][0])
    other = epoch_patches(training_set, dataclasses.replace(config, seed=1), RECIPES[recipe], 2)[0]
    assert not np.array_equal(other, again)


@pytest.mark.usefixtures("larger_than_memory")
def test_a_file_damaged_during_training_is_named(config):
    stream = shards(load(config), config, MODERN, 0)
    next(stream)
    Path("checkpoint/train.h5").write_bytes(b"nothing")
    with pytest.raises(RunError, match=r"train\.h5: cannot be read .*Delete it, and the same command creates it again"):
        list(stream)


@pytest.mark.parametrize(("count", "validation"), [(19, []), (20, [10]), (40, [10, 30])])
def test_part_of_the_images_is_for_validation(count, validation, make_image):
    for number in range(count):
        make_image(f"Train/{number:02d}.png", rows=36, cols=36, seed=number)
    training_set = load(Config(epoch=1))
    assert training_set.validation == load(Config(epoch=1, seed=9)).validation == validation
    # One patch per image here, so that indices are numbers of images.
    assert sorted([*training_set.indices, *validation]) == list(range(count))
    for number in validation:
        np.testing.assert_array_equal(training_set.image(number), utils.imread(f"Train/{number:02d}.png"))
    assert load(Config(validation_split=0.0)).validation == []


def test_validation_images_are_at_most_100_spread_over_the_set():
    chosen = patches.validation_images([Path("a.png")] * 395_909, 0.05)
    assert len(chosen) == 100
    assert {int(step) for step in np.diff(chosen)} == {3959, 3960}
    assert 0 < chosen[0] < 3959 < 395_909 - chosen[-1] + 3959


def test_no_validation_says_why(make_image, capsys):
    for number in range(10):
        make_image(f"Train/{number}.png", 36, 36)
    load(Config(validation_split=0.3))
    message = "No validation: --validation_split needs 20 images or more, and there are 10."
    assert message in capsys.readouterr().out
    load(Config(validation_split=0.0))
    assert "No validation" not in capsys.readouterr().out


def test_of_the_samples_the_motorcycle_is_for_validation(make_image, capsys):
    training_set = load(Config())
    assert [training_set.paths[number].name for number in training_set.validation] == ["motorcycle_left.png"]
    assert "7 images; 1 for validation" in capsys.readouterr().out
    assert load(Config(recipe="reference"), RECIPES["reference"]).validation == []  # as the reference, which has none
    for folder, validation in (("a", []), ("b", [0])):  # something is left to train on
        make_image(f"mine/{folder}/samples/motorcycle_left.png")
        assert load(Config(train_dir="mine", checkpoint_dir=folder)).validation == validation


def test_too_few_patches_for_a_batch(make_image, capsys):
    for number in range(3):
        make_image(f"Train/{number}.png", seed=number)
    message = r"12 patches of 3 images below Train do not fill one batch of 13: give more images"
    with pytest.raises(RunError, match=message):
        load(Config(recipe="reference", batch_size=13), RECIPES["reference"])
    Path("Train/broken.png").write_bytes(b"nothing")
    training_set = load(Config(batch_size=13, checkpoint_dir="other"))
    assert "Warning: Train/broken.png: cannot be read" in capsys.readouterr().out
    assert (training_set.batch_size, training_set.steps_per_epoch) == (12, 1)
