"""One training step, from a batch of patches to updated weights, and the state that it changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.config import Config, Recipe
from srcnn_tf.devices import has_gpu
from srcnn_tf.model import build_model
from srcnn_tf.training.overparameterization import Overparameterization
from srcnn_tf.training.soap import SOAP
from srcnn_tf.training.workers import Workers

PATCHES_PER_PART = 16  # of a batch that is split; about as many fit a core's cache
# Steps after which SOAP's bases are refreshed less often, which is a tenth faster. Over three seeds of 30 epochs of T91
# this changes Set5 by less than a seed does. From the first step on, it would cost half a decibel after one epoch.
SETTLED = 500
MOMENTUM = 0.9  # section 3.3 of the paper
# The paper's learning rates, kernel and bias of each layer, relative to that of the first kernel: 1e-4 and 1e-5
# (section 3.3; the biases' are those of the authors' Caffe solver).
PAPER_RATES = (1.0, 0.1, 1.0, 0.1, 0.1, 0.1)
EMA_DECAY = 0.999  # decay of the average of the weights, reached after some 9,000 steps


@dataclass
class TrainingState:
    """All that training changes; a checkpoint holds each of these, by name.

    Attributes:
        model: the network in the compute dtype, with the current weights in float32.
        ema_model: the network in float32 with the averaged weights, which are validated and saved; without an average,
            with the current ones.
        overparameterization: the variables that are trained.
        optimizer: Keras optimizer of these variables.
        step: number of steps done, int64.
        seconds: time spent training, float64.
        total_steps, start_step, start_rate: see `schedule.Schedule`.
    """

    model: keras.Model
    ema_model: keras.Model
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
        parts = (self.model, self.ema_model, self.overparameterization, self.optimizer)
        scalars = [self.step, self.seconds, self.total_steps, self.start_step, self.start_rate]
        return [variable for part in parts for variable in part.variables] + scalars


def create_state(config: Config, recipe: Recipe, weights: list[NDArray] | None = None) -> TrainingState:
    """Creates the state before the first step, with random weights or the given ones."""
    # By default not in bfloat16, which costs 0.1 to 0.3 dB: see docs/training.md.
    model = build_model(config, recipe.initialization, "float32" if config.precision == "auto" else config.precision)
    ema_model = build_model(config, recipe.initialization)
    if weights is not None:
        model.set_weights(weights)
        ema_model.set_weights(weights)
    overparameterization = Overparameterization(model, recipe.overparameterization, config.seed)
    optimizer: keras.optimizers.Optimizer
    if recipe.optimizer == "soap":
        optimizer = SOAP(config.learning_rate, settled_after=SETTLED)
    else:
        optimizer = keras.optimizers.SGD(
            config.learning_rate, momentum=MOMENTUM if recipe.optimizer == "momentum" else 0.0
        )
    optimizer.build(overparameterization.trained_variables())

    def scalar(dtype: tf.DType) -> tf.Variable:
        return tf.Variable(0, dtype=dtype, trainable=False)

    return TrainingState(
        model=model,
        ema_model=ema_model,
        overparameterization=overparameterization,
        optimizer=optimizer,
        step=scalar(tf.int64),
        seconds=scalar(tf.float64),
        total_steps=scalar(tf.int64),
        start_step=scalar(tf.int64),
        start_rate=scalar(tf.float64),
    )


def make_train_step(
    state: TrainingState, recipe: Recipe, workers: Workers, batch_size: int, seed: int = 0, xla: bool = False
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns the function that trains on one batch.

    Args:
        state: what it changes.
        recipe: how to train.
        workers: who trains; each computes a part of the batch.
        batch_size: patches per batch, of all workers.
        seed: seed of the random flips.
        xla: compile the network and its gradient with XLA, which fuses many small kernels: faster on a GPU, slower on
            a processor.

    Returns:
        A function of `(n, image_size, image_size, c_dim)` data and `(n, label_size, label_size, c_dim)` labels, this
        worker's part of the batch, that returns the loss of the batch before the update.
    """
    variables, limit = state.overparameterization.trained_variables(), recipe.linear_above

    def gradients_of_part(weights: list[tf.Tensor], data: tf.Tensor, label: tf.Tensor, share: float) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(weights)
            restored = state.model.stateless_call(weights, [], data)[0]
            error = (label - restored)[..., slice(*recipe.channels)]
            loss = share * tf.reduce_mean(tf.square(error) if limit is None else huber(error, limit))
        return [loss, *tape.gradient(loss, weights)]

    # Not the optimizer: XLA's own QR decomposition takes a kernel per column.
    loss_and_gradients = tf.function(gradients_of_part, autograph=False, jit_compile=True) if xla else gradients_of_part

    def train_step(data: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        if recipe.flips:
            step_seed = tf.stack([tf.constant(seed, tf.int64), state.step])
            data, label = random_flips(data, label, step_seed, batch_size, workers.part(batch_size))
        with tf.GradientTape() as tape:
            weights = state.overparameterization.products()

        def loss_and_gradients_in_parts(data: tf.Tensor, label: tf.Tensor) -> list[tf.Tensor]:
            # The parts of a batch are independent until their gradients are added, so that they run in parallel, each
            # in the cache of one core.
            sizes = part_sizes(data.shape[0])
            parts = zip(tf.split(data, sizes), tf.split(label, sizes), sizes, strict=True)
            results = [
                loss_and_gradients(weights, data_part, label_part, size / batch_size)
                for data_part, label_part, size in parts
            ]
            return [tf.add_n(terms) for terms in zip(*results, strict=True)]

        loss, *gradients = workers.sum_over_replicas(loss_and_gradients_in_parts, data, label)

        if recipe.optimizer == "momentum":
            # Gradient descent with momentum is proportional to the gradient: so this is a learning rate of its own.
            gradients = [rate * gradient for rate, gradient in zip(PAPER_RATES, gradients, strict=True)]
        state.optimizer.apply(tape.gradient(weights, variables, gradients), variables)
        state.overparameterization.collapse(state.model)

        # A short memory at first, or the random initial weights would stay in the average.
        count = tf.cast(state.step, tf.float32)
        decay = tf.minimum(EMA_DECAY, (1 + count) / (10 + count))
        for average, variable in zip(state.ema_model.trainable_variables, state.model.trainable_variables, strict=True):
            if recipe.ema:
                average.assign_add((1 - decay) * (variable - average))
            else:
                average.assign(variable)
        state.step.assign_add(1)
        return loss

    return train_step


def huber(error: tf.Tensor, limit: float) -> tf.Tensor:
    """Returns twice the Huber loss: squared errors, continued linearly above a limit, so that large ones weigh less."""
    size = tf.abs(error)
    return tf.where(size < limit, tf.square(error), limit * (2 * size - limit))


def random_flips(
    data: tf.Tensor, label: tf.Tensor, seed: tf.Tensor, batch_size: int, part: slice
) -> tuple[tf.Tensor, tf.Tensor]:
    """Flips and transposes each patch at random, into one of eight orientations; its label alike.

    Args:
        data: patches.
        label: their labels.
        seed: two int64 numbers.
        batch_size: patches of the whole batch, whose flips the seed determines.
        part: which of them are given.
    """
    # The generator is named, so that each device and compiler gives the same numbers.
    chosen = tf.random.stateless_uniform([3, batch_size, 1, 1, 1], seed, alg="philox")[:, part] < 0.5
    flips = (
        lambda images: tf.reverse(images, [1]),
        lambda images: tf.reverse(images, [2]),
        lambda images: tf.transpose(images, [0, 2, 1, 3]),
    )
    for number, flip in enumerate(flips):
        data = tf.where(chosen[number], flip(data), data)
        label = tf.where(chosen[number], flip(label), label)
    return data, label


def part_sizes(batch_size: int) -> list[int]:
    """Returns the number of patches in each part of a batch: all on a GPU, else about as `PATCHES_PER_PART` says."""
    if has_gpu():
        return [batch_size]
    parts = max(1, round(batch_size / PATCHES_PER_PART))
    return [batch_size * (part + 1) // parts - batch_size * part // parts for part in range(parts)]


CompiledSteps = Callable[[Any, Any, NDArray[np.int64], NDArray[np.float32]], tf.Tensor]


def compile_steps(
    state: TrainingState, config: Config, recipe: Recipe, workers: Workers, batch_size: int, xla: bool = False
) -> CompiledSteps:
    """Compiles many training steps into one call, on patches that stay in the device's memory.

    Args:
        state: what the steps change.
        config: gives the shapes of the patches and the seed.
        recipe: how to train.
        workers: see `make_train_step`.
        batch_size: patches per batch, of all workers.
        xla: see `make_train_step`.

    Returns:
        A function of `(n, image_size, image_size, c_dim)` data, `(n, label_size, label_size, c_dim)` labels,
        `(steps, patches)` indices of this worker's patches, and `(steps,)` learning rates, to the `(steps,)` losses.
    """
    train_step = make_train_step(state, recipe, workers, batch_size, config.seed, xla)
    part = workers.part(batch_size)

    def steps(data: tf.Tensor, label: tf.Tensor, batches: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
        def one_step(number: tf.Tensor, losses: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            state.optimizer.learning_rate.assign(rates[number])
            loss = train_step(tf.gather(data, batches[number]), tf.gather(label, batches[number]))
            return number + 1, losses.write(number, loss)

        count = tf.shape(batches)[0]
        start = (tf.constant(0), tf.TensorArray(tf.float32, count))
        return tf.while_loop(lambda number, _: number < count, one_step, start, parallel_iterations=1)[1].stack()

    signature = [
        tf.TensorSpec([None, config.image_size, config.image_size, config.c_dim], tf.float32),
        tf.TensorSpec([None, config.label_size, config.label_size, config.c_dim], tf.float32),
        tf.TensorSpec([None, part.stop - part.start], tf.int64),
        tf.TensorSpec([None], tf.float32),
    ]
    return tf.function(steps, input_signature=signature, autograph=False)
