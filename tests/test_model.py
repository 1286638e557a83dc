import numpy as np
import pytest
from scipy import signal

from srcnn_tf.model import LAYERS, border, srcnn


def convolved(image, model):
    """The network in NumPy: correlation without padding, ReLU after all layers but the last."""
    features = image.astype(np.float64)
    for number, layer in enumerate(LAYERS):
        kernel, bias = model.get_layer(layer).get_weights()
        features = np.dstack(
            [
                sum(
                    signal.correlate(
                        features[..., channel], kernel[:, :, channel, out].astype(np.float64), mode="valid"
                    )
                    for channel in range(kernel.shape[2])
                )
                + bias[out]
                for out in range(kernel.shape[3])
            ]
        )
        if number < 2:
            features = np.maximum(features, 0)
    return features


@pytest.mark.parametrize(("filter_sizes", "c_dim"), [((9, 1, 5), 1), ((9, 5, 5), 1), ((11, 1, 7), 3)])
def test_model_is_three_convolutions(filter_sizes, c_dim):
    rng = np.random.default_rng(0)
    model = srcnn(filter_sizes, c_dim, initialization="he", seed=3)
    model.set_weights([values + rng.normal(0, 0.01, values.shape) for values in model.get_weights()])
    image = rng.random((25, 23, c_dim))
    found = model(image[np.newaxis].astype(np.float32)).numpy()[0]
    taken = sum(filter_sizes) - 3
    assert found.shape == (25 - taken, 23 - taken, c_dim)
    assert border(model) == taken
    np.testing.assert_allclose(found, convolved(image, model), atol=2e-5)


@pytest.mark.parametrize(
    ("filter_sizes", "c_dim", "count"),
    [
        ((9, 1, 5), 1, 9 * 9 * 64 + 64 + 64 * 32 + 32 + 5 * 5 * 32 + 1),  # 8129
        ((9, 3, 5), 1, 24416 + 64 + 32 + 1),
        ((9, 5, 5), 1, 57184 + 64 + 32 + 1),
        ((9, 1, 5), 3, 9 * 9 * 3 * 64 + 64 + 64 * 32 + 32 + 5 * 5 * 32 * 3 + 3),
    ],
)
def test_parameter_count(filter_sizes, c_dim, count):
    assert srcnn(filter_sizes, c_dim).count_params() == count


def test_layers_have_names():
    assert [layer.name for layer in srcnn().layers[1:]] == ["patch_extraction", "nonlinear_mapping", "reconstruction"]


def test_gaussian_initialization_is_the_papers():
    for layer in LAYERS:
        kernel, bias = srcnn(filter_sizes=(9, 5, 5)).get_layer(layer).get_weights()
        assert kernel.std() == pytest.approx(1e-3, rel=0.1)
        assert abs(kernel.mean()) < 1e-4
        assert not bias.any()


def test_he_initialization_keeps_the_variance_before_each_relu():
    model = srcnn(initialization="he")
    first, second, last = (model.get_layer(layer).get_weights()[0] for layer in LAYERS)
    assert first.std() == pytest.approx(np.sqrt(2 / 81), rel=0.1)
    assert second.std() == pytest.approx(np.sqrt(2 / 64), rel=0.1)
    assert last.std() == pytest.approx(1e-3, rel=0.1)


def test_seed_makes_the_weights():
    first, again, other = (srcnn(seed=seed).get_weights()[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
