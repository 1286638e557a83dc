"""One training step, from a batch of patches to updated weights, and the state that it changes.

Read `loss_and_gradients` and `train_step`: forward, loss, gradient, update. What is below them makes a step fast, and
many steps one call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.layers import forward
from srcnn_tf.model import build_model
from srcnn_tf.system.devices import has_gpu
from srcnn_tf.training.initialization import start_as_identity
from srcnn_tf.training.overparameterization import Overparameterization
from srcnn_tf.training.recipes import Recipe
from srcnn_tf.training.soap import SOAP
from srcnn_tf.training.workers import Workers

PATCHES_PER_SHARE = 16  # of a batch that is split; about as many fit a core's cache
# Steps after which SOAP's bases are refreshed less often, which is a tenth faster. Over three seeds of 30 epochs of T91
# this changes Set5 by less than a seed does. From the first step on, it would cost half a decibel after one epoch.
SETTLED = 500


@dataclass
class TrainingState:
    """All that training changes; a checkpoint holds each of these, by name.

    Attributes:
        model: the network.
        overparameterization: the variables that are trained.
        optimizer: Keras optimizer of these variables.
        step: number of steps done, int64.
        seconds: time spent training, float64.
        total_steps, start_step, start_rate: see `schedule.Schedule`.
    """

    model: keras.Model
    overparameterization: Overparameterization
    optimizer: keras.optimizers.Optimizer
    step: tf.Variable
    seconds: tf.Variable
    total_steps: tf.Variable
    start_step: tf.Variable
    start_rate: tf.Variable

    @property
    def variables(self) -> list[keras.Variable | tf.Variable]:
        """All variables; some are in the list twice."""
        members = (self.model, self.overparameterization, self.optimizer)
        scalars = [self.step, self.seconds, self.total_steps, self.start_step, self.start_rate]
        return [variable for member in members for variable in member.variables] + scalars


def create_state(config: Config, recipe: Recipe, weights: list[NDArray] | None = None) -> TrainingState:
    """Creates the state before the first step, with random weights or the given ones."""
    is_identity = recipe.initialization == "identity"
    model = build_model(config.network, "he" if is_identity else recipe.initialization, config.seed)
    if weights is not None:
        model.set_weights(weights)
    elif is_identity:
        model.set_weights(start_as_identity(model.get_weights(), config.seed))
    overparameterization = Overparameterization(model, recipe.overparameterization, config.seed)
    optimizer: keras.optimizers.Optimizer
    if recipe.optimizer == "soap":
        optimizer = SOAP(config.learning_rate, settled_after=SETTLED)
    else:
        optimizer = keras.optimizers.SGD(config.learning_rate, momentum=recipe.momentum)
    optimizer.build(overparameterization.trained_variables())

    def scalar(dtype: tf.DType) -> tf.Variable:
        return tf.Variable(0, dtype=dtype, trainable=False)

    return TrainingState(
        model=model,
        overparameterization=overparameterization,
        optimizer=optimizer,
        step=scalar(tf.int64),
        seconds=scalar(tf.float64),
        total_steps=scalar(tf.int64),
        start_step=scalar(tf.int64),
        start_rate=scalar(tf.float64),
    )


@dataclass(frozen=True)
class Settings:
    """What stays the same in all steps.

    Attributes:
        recipe: how to train.
        workers: who trains; each computes a share of the batch.
        batch_size: patches per batch, of all workers.
        seed: seed of the random flips.
        compute_dtype: dtype of the convolutions. In bfloat16, weights lose 0.1 to 0.3 dB, see docs/experiments.md.
        xla: compile the network and its gradient with XLA, which fuses many small kernels: faster on a GPU, slower on
            a processor.
    """

    recipe: Recipe
    workers: Workers
    batch_size: int
    seed: int = 0
    compute_dtype: str = "float32"
    xla: bool = False


def loss_and_gradients(
    weights: Sequence[tf.Tensor], settings: Settings, data: tf.Tensor, label: tf.Tensor
) -> list[tf.Tensor]:
    """Computes what some patches add to a batch's loss, and the gradients of that with respect to the weights.

    Args:
        weights: kernels and biases of the three layers.
        settings: what stays the same in all steps.
        data: `(n, image_size, image_size, c_dim)`.
        label: `(n, label_size, label_size, c_dim)`.

    Returns:
        The loss, and a gradient for each of the weights.
    """
    recipe, fraction = settings.recipe, data.shape[0] / settings.batch_size
    with tf.GradientTape() as tape:
        tape.watch(weights)
        restored = forward(weights, data, settings.compute_dtype)
        error = label - restored
        losses = tf.square(error) if recipe.huber_delta is None else huber(error, recipe.huber_delta)
        loss = fraction * tf.reduce_mean(losses)
    return [loss, *tape.gradient(loss, weights)]


def train_step(state: TrainingState, settings: Settings, data: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Trains on one batch.

    Args:
        state: what the step changes.
        settings: what stays the same in all steps.
        data: this worker's patches, `(n, image_size, image_size, c_dim)`.
        label: their labels, `(n, label_size, label_size, c_dim)`.

    Returns:
        The loss of the batch before the update.
    """
    recipe, workers = settings.recipe, settings.workers
    if recipe.flips:
        seed = tf.stack([tf.constant(settings.seed, tf.int64), state.step])
        share = workers.share(settings.batch_size)
        data, label = random_flips(data, label, seed, settings.batch_size, share)

    # Forward, loss, and gradient with respect to the network's weights.
    trained = state.overparameterization.trained_variables()
    with tf.GradientTape() as tape:
        weights = state.overparameterization.effective_weights()
    of_share = partial(loss_and_gradients, weights, settings)
    if settings.xla:  # not the optimizer, as XLA's own QR decomposition takes a kernel per column
        of_share = tf.function(of_share, autograph=False, jit_compile=True)
    in_shares = partial(sum_over_shares, of_share)
    loss, *gradients = workers.sum_over_replicas(in_shares, data, label)

    # Update of the variables that are trained, from which the weights follow.
    if recipe.layer_rates is not None:
        # Gradient descent with momentum is proportional to the gradient: so this is a learning rate of its own.
        gradients = [rate * gradient for rate, gradient in zip(recipe.layer_rates, gradients, strict=True)]
    state.optimizer.apply(tape.gradient(weights, trained, gradients), trained)
    state.overparameterization.write_to(state.model)
    state.step.assign_add(1)
    return loss


def huber(error: tf.Tensor, delta: float) -> tf.Tensor:
    """Returns twice the Huber loss: squared errors, continued linearly above `delta`, so that large ones weigh less."""
    size = tf.abs(error)
    return tf.where(size < delta, tf.square(error), delta * (2 * size - delta))


def random_flips(
    data: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, batch_size: int, share: slice
) -> tuple[tf.Tensor, tf.Tensor]:
    """Flips and transposes each patch at random, into one of eight orientations; its label alike.

    Args:
        data: patches.
        label: their labels.
        seed: two int64 numbers.
        batch_size: patches of the whole batch, whose flips the seed determines.
        share: which of them are given.
    """
    # The generator is named, so that each device and compiler gives the same numbers.
    chosen = tf.random.stateless_uniform([3, batch_size, 1, 1, 1], seed, alg="philox")[:, share] < 0.5
    flips = (
        lambda images: tf.reverse(images, [1]),
        lambda images: tf.reverse(images, [2]),
        lambda images: tf.transpose(images, [0, 2, 1, 3]),
    )
    for number, flip in enumerate(flips):
        data = tf.where(chosen[number], flip(data), data)
        label = tf.where(chosen[number], flip(label), label)
    return data, label


def sum_over_shares(function: Callable[..., list[tf.Tensor]], data: tf.Tensor, label: tf.Tensor) -> list[tf.Tensor]:
    """Calls a function on shares of a batch, and sums its results.

    The shares are independent until then, so that they run in parallel, each in the cache of one core.
    """
    sizes = share_sizes(data.shape[0])
    results = [function(*share) for share in zip(tf.split(data, sizes), tf.split(label, sizes), strict=True)]
    return [tf.add_n(terms) for terms in zip(*results, strict=True)]


def share_sizes(batch_size: int) -> list[int]:
    """Returns the number of patches in each share of a batch: all on a GPU, else about as `PATCHES_PER_SHARE` says."""
    if has_gpu():
        return [batch_size]
    count = max(1, round(batch_size / PATCHES_PER_SHARE))
    return [batch_size * (number + 1) // count - batch_size * number // count for number in range(count)]


CompiledSteps = Callable[[Any, Any, NDArray[np.int64], NDArray[np.float32]], tf.Tensor]


def compile_steps(state: TrainingState, config: Config, settings: Settings) -> CompiledSteps:
    """Compiles many training steps into one call, on patches that stay in the device's memory.

    Args:
        state: what the steps change.
        config: gives the shapes of the patches.
        settings: what stays the same in all steps.

    Returns:
        A function of `(n, image_size, image_size, c_dim)` data, `(n, label_size, label_size, c_dim)` labels,
        `(steps, patches)` indices of this worker's patches, and `(steps,)` learning rates, to the `(steps,)` losses.
    """

    def steps(data: tf.Tensor, label: tf.Tensor, batches: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
        def one_step(number: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            state.optimizer.learning_rate.assign(rates[number])
            patches = tf.gather(data, batches[number]), tf.gather(label, batches[number])
            return number + 1, losses.write(number, train_step(state, settings, *patches))

        count = tf.shape(batches)[0]
        start = (tf.constant(0), tf.TensorArray(tf.float32, count))
        return tf.while_loop(lambda number, _: number < count, one_step, start, parallel_iterations=1)[1].stack()

    share = settings.workers.share(settings.batch_size)
    signature = [
        tf.TensorSpec([None, config.image_size, config.image_size, config.c_dim], tf.float32),
        tf.TensorSpec([None, config.label_size, config.label_size, config.c_dim], tf.float32),
        tf.TensorSpec([None, share.stop - share.start], tf.int64),
        tf.TensorSpec([None], tf.float32),
    ]
    return tf.function(steps, input_signature=signature, autograph=False)
