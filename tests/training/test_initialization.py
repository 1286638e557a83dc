import numpy as np
import pytest
from conftest import synthetic_image
from networks import network

from srcnn_tf.layers import forward
from srcnn_tf.model import LAYERS, border


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("filter_sizes", "c_dim", "filters"),
    [((9, 1, 5), 1, (64, 32)), ((9, 5, 5), 3, (64, 32)), ((9, 3, 5), 3, (3, 3)), ((9, 1, 5), 1, (1, 1))],
)
def test_training_starts_as_the_identity_with_no_filter_off(filter_sizes, c_dim, filters, dtype):
    model = network(filter_sizes, c_dim, filters, "identity")
    weights = [variable.value for variable in model.weights]
    image = synthetic_image(60, 60)[np.newaxis, ..., :c_dim].astype(np.float32) / 255
    margin = border(model) // 2
    tolerance = 0.03 if dtype == "float32" else 0.04
    np.testing.assert_allclose(forward(weights, image, dtype), image[:, margin:-margin, margin:-margin], atol=tolerance)
    features = image
    for layer in LAYERS[:2]:
        features = np.asarray(model.get_layer(layer)(features), np.float32)
        assert ((features > 0).mean((0, 1, 2)) > 0.05).all(), layer
