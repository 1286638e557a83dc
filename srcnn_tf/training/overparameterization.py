"""Linear over-parameterization: training the kernels as products of two factors.

A convolution followed by a linear one of 1 x 1 pixels is a convolution. So the network stays what it is and computes
what it did, but gradients with respect to the factors lead to better weights than those with respect to the product
(Arora et al., ICML 2018; Guo et al., NeurIPS 2020; for super-resolution Bhardwaj et al., MLSys 2022).
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


class Overparameterization(keras.layers.Layer):
    """The variables that are trained in place of a model's, and how the model's follow from them.

    It is a layer only so that Keras saves its variables in checkpoints; it is never called.

    Attributes:
        factors: for each variable of the model, its two factors, or the variable itself.
    """

    def __init__(self, model: keras.Model, width: int = 1, seed: int = 0) -> None:
        """Creates factors whose products are the model's current kernels.

        Args:
            model: a model of `model.build_model`.
            width: expansion factor: the two factors of a kernel have `width` times its filters between them. 1: no
                factors, the model's own variables are trained. The last layer, of too few filters, has no factors.
            seed: seed of the random orthonormal bases between the factors.
        """
        super().__init__(name="overparameterization")
        rng = np.random.default_rng(seed)
        self.factors: list[list[keras.Variable]] = []
        for variable in model.trainable_variables[:-2]:
            if width == 1 or len(variable.shape) < 4:
                self.factors.append([variable])
            else:
                filters = variable.shape[-1]
                basis = np.linalg.qr(rng.normal(size=(width * filters, filters)))[0].T  # orthonormal rows
                self.factors.append([self._add(variable.numpy() @ basis), self._add(basis.T)])
        self.factors += [[variable] for variable in model.trainable_variables[-2:]]

    def _add(self, values: NDArray) -> keras.Variable:
        return self.add_weight(shape=values.shape, initializer=lambda *_, **__: tf.constant(values, tf.float32))

    def trained_variables(self) -> list[keras.Variable]:
        """Returns the variables to train, in the model's order."""
        return [variable for factors in self.factors for variable in factors]

    def effective_weights(self) -> list[tf.Tensor]:
        """Returns the model's weights that follow from the factors, in the model's order."""
        return [
            tf.tensordot(factors[0].value, factors[1].value, 1) if len(factors) == 2 else tf.identity(factors[0].value)
            for factors in self.factors
        ]

    def write_to(self, model: keras.Model) -> None:
        """Assigns the effective weights to the model's variables."""
        for variable, factors, product in zip(
            model.trainable_variables, self.factors, self.effective_weights(), strict=True
        ):
            if len(factors) == 2:
                variable.assign(product)
