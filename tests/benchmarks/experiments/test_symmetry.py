from argparse import Namespace
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf
from conftest import synthetic_image

from benchmarks.experiments import symmetry
from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.model import srcnn
from srcnn_tf.training.step import huber

FREE = dict(zip(symmetry.TYINGS, [(32, 16), (16, 8), (8, 4), (10, 2), (24, 12)], strict=True))
FLIPS = {
    "filters shared by two mirror images": [np.fliplr],
    "filters shared by four flips": [np.fliplr, np.flipud],
}


def tied_model(name):
    tying = symmetry.TYINGS[name]
    model, rng = srcnn(filters=[int(count) for count in tying.filters.split(",")]), np.random.default_rng(0)
    model.set_weights(tying.tie([rng.normal(0, 0.1, weights.shape) for weights in model.get_weights()]))
    return model


def restore(model, image):
    return model(image[np.newaxis, ..., np.newaxis])[0, ..., 0].numpy()


@pytest.mark.parametrize("name", symmetry.TYINGS)
def test_a_tied_network_is_symmetric_and_costs_the_same(name):
    model, image = tied_model(name), np.random.default_rng(1).random((16, 19), np.float32)
    for flip in FLIPS.get(name, [np.fliplr, np.transpose]):  # which generate the others
        assert restore(model, flip(image)) == pytest.approx(flip(restore(model, image)), abs=1e-5)
    kernels = model.get_weights()[::2]
    assert sum(kernel.size for kernel in kernels) == pytest.approx(8032, rel=0.02)
    for kernel, free in zip(kernels, FREE[name], strict=False):
        assert len(set(np.round(np.linalg.norm(kernel, axis=(0, 1)).sum(0), 4))) == free


@pytest.mark.parametrize("name", symmetry.TYINGS)
def test_tying_twice_changes_nothing_and_the_start_is_about_the_identity(name):
    tying, model = symmetry.TYINGS[name], tied_model(name)
    for once, twice in zip(model.get_weights(), tying.tie(model.get_weights()), strict=True):
        assert once == pytest.approx(twice.numpy(), abs=1e-6)
    filters = [int(count) for count in tying.filters.split(",")]
    start = tying.start_as_identity(srcnn(filters=filters, initialization="he").get_weights(), 0)
    for values, symmetric in zip(start, tying.tie(start), strict=True):
        assert values == pytest.approx(symmetric.numpy(), abs=1e-6)
    model.set_weights(start)
    image = np.random.default_rng(1).random((24, 24), np.float32)
    assert restore(model, image) == pytest.approx(image[6:-6, 6:-6], abs=0.1)


def test_the_penalty_is_on_what_turning_changes():
    errors = np.random.default_rng(0).normal(0, 0.05, (4, 5, 5, 1)).astype(np.float32)
    symmetric = np.stack([errors, np.rot90(errors, axes=(1, 2))], axis=1).reshape(8, 5, 5, 1)
    assert float(symmetry.penalized(symmetric, 0.02, 1)) == pytest.approx(float(tf.reduce_mean(huber(errors, 0.02))))
    other = symmetric + np.array([0.01, 0])[np.arange(8) % 2, np.newaxis, np.newaxis, np.newaxis]
    penalty = symmetry.penalized(other, 0.02, 3) - symmetry.penalized(other, 0.02, 0)
    assert float(penalty) == pytest.approx(3 * 0.01**2, rel=1e-4)


def test_each_pair_is_a_patch_and_itself_turned():
    data = np.random.default_rng(0).random((4, 9, 9, 1), np.float32)
    for pairs in symmetry.paired_flips(data, data + 1, tf.constant([0, 0], tf.int64), 4, slice(None)):
        assert pairs.numpy()[1::2] == pytest.approx(np.rot90(pairs[::2], axes=(1, 2)))
    assert sorted(pairs[::2].numpy().sum((1, 2, 3))) == pytest.approx(sorted((data + 1).sum((1, 2, 3))))


def test_a_share_of_the_labels_is_what_the_teacher_restores():
    config, images = Config(degradation="matlab"), [synthetic_image(60, 50)]
    training_set = SimpleNamespace(images=images)

    def labels(share):
        data, label = symmetry.distilled_patches(training_set, config, None, 1, teacher=np.negative, share=share)
        return data[:, 6:-6, 6:-6], label

    original = utils.extract_patches(*utils.preprocess(images[0], config, 1), config)[1]
    for share in (0, 0.25, 1):
        degraded, label = labels(share)
        assert label == pytest.approx((1 - share) * original - share * degraded, abs=1e-6)


def test_training_uses_what_is_changed_and_filters_stay_tied(make_image, monkeypatch, capsys):
    for number in range(20):  # fewer are all trained on
        make_image(f"images/{number}.png", seed=number)
    name, tying = list(symmetry.TYINGS.items())[-1]
    monkeypatch.setattr(tying, "start_as_identity", start := Mock(wraps=tying.start_as_identity))
    monkeypatch.setattr(symmetry, "paired_flips", flips := Mock(wraps=symmetry.paired_flips))
    monkeypatch.setattr(symmetry, "penalized", loss := Mock(wraps=symmetry.penalized))
    teacher = Mock(wraps=np.negative)
    changes = [*symmetry.tied(tying), *symmetry.with_penalty(1), *symmetry.distilled(teacher, 0.5)]
    given = Namespace(epoch=2, train_dir="images", scratch="runs")
    trained, _ = symmetry.train_variant(name, given, 0, changes, filters=tying.filters, batch_size=16)
    assert all(used.called for used in (start, flips, loss))
    assert teacher.call_count == 2 * 20
    weights = trained.model.get_weights()
    for before, after in zip(weights, tying.tie(weights), strict=True):
        assert before == pytest.approx(after.numpy(), abs=1e-6)
    assert f"| {name} | 0 |" in capsys.readouterr().out
