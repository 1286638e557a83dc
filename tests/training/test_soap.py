import keras
import numpy as np
import pytest

from srcnn_tf.training.soap import SOAP


class NumpySOAP:
    """The paper's algorithm 3 for one matrix in float64, written from the paper for these tests."""

    rate, beta, refresh_every, epsilon = 0.01, 0.9, 3, 1e-8

    def __init__(self, shape, sides, settled_after):
        self.sides, self.settled_after = sides, settled_after
        self.mean, self.square = np.zeros(shape), np.zeros(shape)
        self.factors = [np.zeros((side, side)) for side in shape]
        self.bases = [np.eye(side) for side in shape]
        self.calls = 0

    def change(self, gradient):
        """Returns what to subtract from the variable."""
        left, right = self.bases
        change = np.zeros_like(gradient)
        if self.calls:
            self.mean = self.beta * self.mean + (1 - self.beta) * gradient
            self.square = self.beta * self.square + (1 - self.beta) * (left.T @ gradient @ right) ** 2
            correction = 1 - self.beta**self.calls
            rotated = (left.T @ self.mean @ right) / correction
            change = self.rate * left @ (rotated / (np.sqrt(self.square / correction) + self.epsilon)) @ right.T
        products = (gradient @ gradient.T, gradient.T @ gradient)
        for side in range(2):
            self.factors[side] = self.beta * self.factors[side] + (1 - self.beta) * products[side]
            if not self.sides[side]:
                continue
            if self.calls == 0:
                self.bases[side] = np.linalg.eigh(self.factors[side])[1][:, ::-1]
            elif self.calls % (self.refresh_every * (1 if self.calls < self.settled_after else 3)) == 0:
                weights = np.diag(self.bases[side].T @ self.factors[side] @ self.bases[side])
                order = np.argsort(weights)[::-1]
                self.square = self.square[order] if side == 0 else self.square[:, order]
                self.bases[side] = np.linalg.qr(self.factors[side] @ self.bases[side][:, order])[0]
        self.calls += 1
        return change


def gradients(shape, steps):
    """Full-rank gradients of uneven size, so that every basis is determined."""
    rng = np.random.default_rng(5)
    scale = np.outer(np.geomspace(1, 0.1, shape[0]), np.geomspace(1, 0.2, shape[1]))
    mean = rng.normal(size=shape) * scale
    return [mean + rng.normal(size=shape) * scale for _ in range(steps)]


@pytest.mark.parametrize(
    ("shape", "max_side", "sides", "settled_after"),
    [
        ((2, 2, 1, 4), 8, (True, True), None),
        ((6, 3), 4, (False, True), None),
        ((3, 6), 4, (True, False), None),
        ((4, 4), 8, (True, True), 4),
    ],
)
def test_equals_the_numpy_version(shape, max_side, sides, settled_after):
    matrix = (int(np.prod(shape[:-1])), shape[-1])
    oracle = NumpySOAP(matrix, sides, settled_after or 1000)
    optimizer = SOAP(0.01, beta_1=0.9, beta_2=0.9, refresh_every=3, settled_after=settled_after, max_side=max_side)
    start = np.random.default_rng(0).normal(size=matrix)
    variable = keras.Variable(start.reshape(shape))
    optimizer.build([variable])
    for gradient in gradients(matrix, steps=20):
        start = start - oracle.change(gradient)
        optimizer.apply([keras.ops.convert_to_tensor(gradient.reshape(shape))], [variable])
        np.testing.assert_allclose(np.reshape(variable, matrix), start, rtol=0, atol=1e-7)  # the rate is float32
    bases = [np.array(variable) for variable in optimizer.variables if "basis" in variable.path]
    assert len(bases) == sum(sides)
    for basis in bases:
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), atol=1e-5)


@pytest.mark.parametrize("shape", [(3,), (), (1, 1)])
def test_vectors_and_scalars_are_trained_by_adam(shape):
    rng = np.random.default_rng(0)
    actual, expected = (keras.Variable(np.zeros(shape, np.float32)) for _ in range(2))
    soap, adam = SOAP(0.1, beta_1=0.9, beta_2=0.99), keras.optimizers.Adam(0.1, beta_1=0.9, beta_2=0.99, epsilon=1e-8)
    for optimizer, variable in ((soap, actual), (adam, expected)):
        optimizer.build([variable])
    for gradient in rng.normal(size=(5, *shape)):
        for optimizer, variable in ((soap, actual), (adam, expected)):
            optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


def test_works_under_keras_fit_and_is_saved_with_the_model():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(64, 5)).astype(np.float32)
    targets = inputs @ rng.normal(size=(5, 2)).astype(np.float32)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, kernel_initializer="zeros")])
    model.compile(SOAP(0.05, refresh_every=4), "mse")
    history = model.fit(inputs, targets, epochs=40, verbose=0).history["loss"]
    assert history[-1] < history[0] / 20
    model.save("model.keras")
    again = keras.models.load_model("model.keras").optimizer
    assert again.get_config() == model.optimizer.get_config()
    for loaded, saved in zip(again.variables, model.optimizer.variables, strict=True):
        np.testing.assert_array_equal(loaded, saved)
