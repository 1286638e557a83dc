"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, as a Keras optimizer of general use."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("srcnn_tf")
class SOAP(keras.optimizers.Optimizer):
    """Optimizer of Vyas et al., *SOAP: Improving and Stabilizing Shampoo using Adam* (arXiv 2409.11321, algorithm 3).

    A variable of shape `(..., outputs)` with gradient G is seen as a matrix of `prod(...)` rows and `outputs`
    columns. Moving averages of G G^T and G^T G, the preconditioners, give an orthogonal basis for each side; Adam runs
    on the gradient projected to these bases, and its step is projected back. A side of one row or column, or of more
    than `max_side`, keeps its own axes; a variable with fewer than two dimensions is trained by plain Adam.

    The first call takes no step for matrices: it computes the first bases, as the authors' program does. After that,
    every `refresh_every` calls the bases take one step of orthogonal iteration (a product and a QR). Once they have
    settled they change slowly, and one refresh in three is enough.

    Args:
        learning_rate: a number, a Keras schedule, or a callable.
        beta_1: decay of the average of gradients.
        beta_2: decay of the average of their squares, and of the preconditioners.
        epsilon: added to the root of the averaged squares.
        refresh_every: steps between two refreshes of the bases.
        settled_after: step from which the bases are refreshed every `3 * refresh_every` steps. Default: never, as in
            the paper.
        max_side: largest side with a basis, in rows; its memory is two matrices of `max_side` squared.
        name: name of the optimizer.
        **kwargs: of `keras.optimizers.Optimizer`: `weight_decay`, `clipnorm`, `use_ema`, ...
    """

    def __init__(
        self,
        learning_rate: Any = 3e-3,
        beta_1: float = 0.95,
        beta_2: float = 0.95,
        epsilon: float = 1e-8,
        refresh_every: int = 10,
        settled_after: int | None = None,
        max_side: int = 2048,
        name: str = "soap",
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.refresh_every = refresh_every
        self.settled_after = settled_after
        self.max_side = max_side

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the averages, preconditioners and bases of each variable."""
        if self.built:
            return
        super().build(variables)
        self._means: list[keras.Variable] = []
        self._squares: list[keras.Variable] = []
        # One for the rows and one for the columns; None for a side that keeps its own axes.
        self._preconditioners: list[list[keras.Variable | None]] = []
        self._bases: list[list[keras.Variable | None]] = []
        for variable in variables:
            matrix, dtype = _matrix_shape(variable.shape), _state_dtype(variable)
            self._means.append(self.add_variable(matrix, dtype=dtype, name="mean"))
            self._squares.append(self.add_variable(matrix, dtype=dtype, name="square"))
            preconditioners: list[keras.Variable | None] = []
            bases: list[keras.Variable | None] = []
            for side in matrix:
                has_basis = len(variable.shape) >= 2 and 1 < side <= self.max_side
                shape = (side, side)
                preconditioners.append(
                    self.add_variable(shape, "zeros", dtype=dtype, name="preconditioner") if has_basis else None
                )
                bases.append(self.add_variable(shape, "identity", dtype=dtype, name="basis") if has_basis else None)
            self._preconditioners.append(preconditioners)
            self._bases.append(bases)

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Updates one variable in place."""
        index = self._get_variable_index(variable)
        gradient = ops.reshape(ops.cast(gradient, _state_dtype(variable)), _matrix_shape(variable.shape))
        has_basis = any(basis is not None for basis in self._bases[index])

        def adam_step() -> None:
            step = self._adam_step(index, gradient, self.iterations if has_basis else self.iterations + 1)
            step = ops.cast(learning_rate, step.dtype) * step
            self.assign_sub(variable, ops.cast(ops.reshape(step, variable.shape), variable.dtype))

        if not has_basis:
            adam_step()
            return
        started = self.iterations > 0
        ops.cond(started, adam_step, lambda: None)
        for preconditioner, values in zip(
            self._preconditioners[index], (gradient, ops.transpose(gradient)), strict=True
        ):
            if preconditioner is not None:
                product = ops.matmul(values, ops.transpose(values))
                self.assign(preconditioner, self.beta_2 * preconditioner + (1 - self.beta_2) * product)
        interval = self.refresh_every
        if self.settled_after is not None:
            interval = ops.where(self.iterations < self.settled_after, interval, 3 * interval)
        due = started & ops.equal(self.iterations % interval, 0)
        ops.cond(due, lambda: self._refresh_bases(index), lambda: None)
        ops.cond(started, lambda: None, lambda: self._compute_bases(index))

    def _adam_step(self, index: int, gradient: Any, count: Any) -> Any:
        """Returns Adam's step number `count` in the variable's own axes, for a learning rate of 1."""
        mean = self.beta_1 * self._means[index] + (1 - self.beta_1) * gradient
        square = self.beta_2 * self._squares[index] + (1 - self.beta_2) * ops.square(self._project(index, gradient))
        self.assign(self._means[index], mean)
        self.assign(self._squares[index], square)
        count = ops.cast(count, mean.dtype)
        projected = self._project(index, mean) / (1 - ops.power(self.beta_1, count))
        scale = ops.sqrt(square / (1 - ops.power(self.beta_2, count)))
        return self._project_back(index, projected / (scale + self.epsilon))

    def _project(self, index: int, values: Any) -> Any:
        """Returns a matrix in the bases of a variable."""
        left, right = self._bases[index]
        values = values if left is None else ops.matmul(ops.transpose(left), values)
        return values if right is None else ops.matmul(values, right)

    def _project_back(self, index: int, values: Any) -> Any:
        """Returns a matrix in the variable's own axes."""
        left, right = self._bases[index]
        values = values if left is None else ops.matmul(left, values)
        return values if right is None else ops.matmul(values, ops.transpose(right))

    def _compute_bases(self, index: int) -> None:
        """Sets the bases to the eigenvectors of the preconditioners, by descending eigenvalues."""
        for preconditioner, basis in zip(self._preconditioners[index], self._bases[index], strict=True):
            if basis is not None:
                self.assign(basis, ops.flip(ops.linalg.eigh(preconditioner)[1], axis=1))

    def _refresh_bases(self, index: int) -> None:
        """Takes one step of orthogonal iteration per side; sorts directions by their share of the preconditioner."""
        square = ops.convert_to_tensor(self._squares[index])
        for side, (preconditioner, basis) in enumerate(
            zip(self._preconditioners[index], self._bases[index], strict=True)
        ):
            if basis is None:
                continue
            product = ops.matmul(preconditioner, basis)
            order = ops.flip(ops.argsort(ops.sum(basis * product, axis=0)), axis=0)
            square = ops.take(square, order, axis=side)
            self.assign(basis, ops.qr(ops.take(product, order, axis=1))[0])
        self.assign(self._squares[index], square)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments, as Keras needs them to save the optimizer."""
        names = ("beta_1", "beta_2", "epsilon", "refresh_every", "settled_after", "max_side")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _state_dtype(variable: keras.Variable) -> str:
    """Returns the dtype for optimizer state: the variable's own, but at least float32."""
    return "float64" if variable.dtype == "float64" else "float32"


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Returns the shape of a variable as a matrix: `(f * f * c_in, c_out)` for a kernel, one column for a bias."""
    if len(shape) < 2:
        return (shape[0] if len(shape) else 1), 1
    return math.prod(shape[:-1]), shape[-1]
