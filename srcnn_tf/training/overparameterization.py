"""Training more weights than the network has: kernels as products of two, which are multiplied out again.

A convolution followed by a linear one of 1 x 1 pixels is a convolution. So the network stays what it is, and computes
what it did; but gradients with regard to the factors lead to better weights than those with regard to the product
(Arora et al., ICML 2018; Guo et al., NeurIPS 2020; for super-resolution Bhardwaj et al., MLSys 2022).
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class Expansion(keras.layers.Layer):
    """The variables that are trained in place of a model's, and how they make the model's.

    A layer for Keras' sake, which keeps its variables in checkpoints; it is never called.
    """

    def __init__(self, model: keras.Model, times: int = 1, seed: int = 0) -> None:
        """Makes factors whose products are the model's kernels of now.

        Args:
            model: of `model.srcnn`.
            times: how many times as many filters as the layer has stand between its two factors. 1: none, the
                model's own variables are trained. The last layer has too few filters to gain by it, and stays whole.
            seed: of the random bases between the factors.
        """
        super().__init__(name="expansion")
        rng = np.random.default_rng(seed)
        self.factors: list[list[keras.Variable]] = []
        *variables, last_kernel, last_bias = model.trainable_variables
        for variable in variables:
            if times == 1 or len(variable.shape) < 4:
                self.factors.append([variable])
                continue
            basis = _orthonormal_rows(variable.shape[-1], times * variable.shape[-1], rng)
            self.factors.append([self._add(variable.numpy() @ basis), self._add(basis.T)])
        self.factors += [[last_kernel], [last_bias]]

    def _add(self, values: NDArray) -> keras.Variable:
        return self.add_weight(shape=values.shape, initializer=lambda *_, **__: tf.constant(values, tf.float32))

    def trained(self) -> list[keras.Variable]:
        """The variables to train, in the order of the model's."""
        return [variable for factors in self.factors for variable in factors]

    def products(self) -> list[tf.Tensor]:
        """The model's weights as they follow from the factors, in the model's order."""
        return [
            tf.tensordot(factors[0].value, factors[1].value, 1) if len(factors) == 2 else tf.identity(factors[0].value)
            for factors in self.factors
        ]

    def collapse(self, model: keras.Model) -> None:
        """Gives the model the products."""
        for variable, factors, product in zip(model.trainable_variables, self.factors, self.products(), strict=True):
            if len(factors) == 2:
                variable.assign(product)


def _orthonormal_rows(rows: int, cols: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.linalg.qr(rng.normal(size=(cols, rows)))[0].T
