"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner, as a Keras optimizer of general use."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("srcnn_tf")
class SOAP(keras.optimizers.Optimizer):
    """Optimizer of Vyas et al., *SOAP: Improving and Stabilizing Shampoo using Adam* (arXiv 2409.11321, algorithm 3).

    A variable of shape `(..., outputs)` with gradient G is seen as a matrix of `prod(...)` rows and `outputs`
    columns. Moving averages of G G^T and G^T G give an orthogonal basis for each side; Adam runs on the gradient
    turned into those bases, and its step is turned back. A side of one row or column, or of more than
    `max_side`, keeps its own axes; a variable with fewer than two dimensions is trained by plain Adam.

    The first call takes no step for matrices: it measures the first bases, as the authors' program does. After
    that, every `refresh_every` calls the bases take one step of orthogonal iteration (a product and a QR). Once they
    have settled they turn slowly, and a refresh in three is enough.

    Args:
        learning_rate: a number, a Keras schedule, or a callable.
        beta_1: decay of the average of gradients.
        beta_2: decay of the average of their squares, and of the two factors.
        epsilon: added to the root of the averaged squares.
        refresh_every: steps from one refresh of the bases to the next.
        settled_after: steps after which that is three times as many. Default: never, as the authors have it.
        max_side: largest side of a factor, in rows; its memory is three matrices of `max_side` squared.
        **kwargs: of `keras.optimizers.Optimizer`: `weight_decay`, `clipnorm`, `use_ema`, `name`, ...
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
        """Makes the averages, factors and bases of each variable."""
        if self.built:
            return
        super().build(variables)
        self._means: list[keras.Variable] = []
        self._squares: list[keras.Variable] = []
        self._factors: list[list[keras.Variable | None]] = []
        self._bases: list[list[keras.Variable | None]] = []
        for variable in variables:
            matrix, dtype = _matrix_shape(variable.shape), _dtype(variable)
            sides = [side if self._is_turned(variable, side) else None for side in matrix]
            self._means.append(self.add_variable(matrix, dtype=dtype, name="mean"))
            self._squares.append(self.add_variable(matrix, dtype=dtype, name="square"))
            self._factors.append([self._add_side(side, dtype, "zeros", "factor") for side in sides])
            self._bases.append([self._add_side(side, dtype, "identity", "basis") for side in sides])

    def _is_turned(self, variable: keras.Variable, side: int) -> bool:
        return len(variable.shape) >= 2 and 1 < side <= self.max_side

    def _add_side(self, side: int | None, dtype: str, initializer: str, name: str) -> keras.Variable | None:
        return None if side is None else self.add_variable((side, side), initializer, dtype=dtype, name=name)

    def update_step(self, gradient: Any, variable: keras.Variable, learning_rate: Any) -> None:
        """Updates one variable in place."""
        index = self._get_variable_index(variable)
        gradient = ops.reshape(ops.cast(gradient, _dtype(variable)), _matrix_shape(variable.shape))
        turned = any(basis is not None for basis in self._bases[index])

        def step() -> None:
            change = self._adam_step(index, gradient, self.iterations if turned else self.iterations + 1)
            change = ops.cast(learning_rate, change.dtype) * change
            self.assign_sub(variable, ops.cast(ops.reshape(change, variable.shape), variable.dtype))

        if not turned:
            step()
            return
        started = self.iterations > 0
        ops.cond(started, step, lambda: None)
        self._average_factors(index, gradient)
        due = started & ops.equal(self.iterations % self._refresh_interval(), 0)
        ops.cond(due, lambda: self._refresh(index), lambda: None)
        ops.cond(started, lambda: None, lambda: self._start(index))

    def _refresh_interval(self) -> Any:
        if self.settled_after is None:
            return self.refresh_every
        return ops.where(self.iterations < self.settled_after, self.refresh_every, 3 * self.refresh_every)

    def _adam_step(self, index: int, gradient: Any, count: Any) -> Any:
        """Adam's step number `count`, in the variable's own axes, for a rate of 1."""
        mean = self.beta_1 * self._means[index] + (1 - self.beta_1) * gradient
        square = self.beta_2 * self._squares[index] + (1 - self.beta_2) * ops.square(self._turn(index, gradient))
        self.assign(self._means[index], mean)
        self.assign(self._squares[index], square)
        count = ops.cast(count, mean.dtype)
        turned = self._turn(index, mean) / (1 - ops.power(self.beta_1, count))
        size = ops.sqrt(square / (1 - ops.power(self.beta_2, count)))
        return self._turn_back(index, turned / (size + self.epsilon))

    def _turn(self, index: int, values: Any) -> Any:
        left, right = self._bases[index]
        values = values if left is None else ops.matmul(ops.transpose(left), values)
        return values if right is None else ops.matmul(values, right)

    def _turn_back(self, index: int, values: Any) -> Any:
        left, right = self._bases[index]
        values = values if left is None else ops.matmul(left, values)
        return values if right is None else ops.matmul(values, ops.transpose(right))

    def _average_factors(self, index: int, gradient: Any) -> None:
        for factor, values in zip(self._factors[index], (gradient, ops.transpose(gradient)), strict=True):
            if factor is not None:
                product = ops.matmul(values, ops.transpose(values))
                self.assign(factor, self.beta_2 * factor + (1 - self.beta_2) * product)

    def _start(self, index: int) -> None:
        for factor, basis in zip(self._factors[index], self._bases[index], strict=True):
            if basis is not None:
                # eigh gives ascending eigenvalues; the refresh keeps them descending.
                self.assign(basis, ops.flip(ops.linalg.eigh(factor)[1], axis=1))

    def _refresh(self, index: int) -> None:
        """One step of orthogonal iteration a side, directions sorted by their weight in the factor."""
        square = ops.convert_to_tensor(self._squares[index])
        for side, (factor, basis) in enumerate(zip(self._factors[index], self._bases[index], strict=True)):
            if basis is None:
                continue
            product = ops.matmul(factor, basis)
            order = ops.flip(ops.argsort(ops.sum(basis * product, axis=0)), axis=0)
            square = ops.take(square, order, axis=side)
            self.assign(basis, ops.qr(ops.take(product, order, axis=1))[0])
        self.assign(self._squares[index], square)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again."""
        names = ("beta_1", "beta_2", "epsilon", "refresh_every", "settled_after", "max_side")
        return super().get_config() | {name: getattr(self, name) for name in names}


def _dtype(variable: keras.Variable) -> str:
    """What to reckon in: float32 at the least."""
    return "float64" if variable.dtype == "float64" else "float32"


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """A kernel `(f, f, c_in, c_out)` is the matrix `(f * f * c_in, c_out)`; a bias is one column."""
    if len(shape) < 2:
        return (shape[0] if len(shape) else 1), 1
    rows = 1
    for side in shape[:-1]:
        rows *= side
    return rows, shape[-1]
