"""One step of training: the state that it changes, and the compiled function that does it."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.config import RECIPES, Config, Recipe
from srcnn_tf.devices import compute_dtype, has_gpu
from srcnn_tf.forward import forward
from srcnn_tf.training.overparameterization import Expansion
from srcnn_tf.training.soap import SOAP
from srcnn_tf.weights import checkpoint

PART_BYTES = 64  # of one feature of all patches in a part: 16 patches in float32, 32 in bfloat16
# Steps after which SOAP's bases are refreshed less often, which is a tenth faster. Over three seeds of 30 epochs of T91
# this moves Set5 by less than a seed does. From the first step on, it would cost half a decibel after one epoch.
SETTLED = 500
MOMENTUM = 0.9  # of the paper
# The paper's rates, kernel and bias of each layer, as parts of that of the first kernel: 1e-4 and 1e-5 (section 3.3;
# the biases' are those of the authors' Caffe solver).
PAPER_RATES = (1.0, 0.1, 1.0, 0.1, 0.1, 0.1)
DECAY = 0.999  # of the average of weights, once it has seen enough of them


class State:
    """All that training changes, and that a checkpoint keeps."""

    def __init__(self, config: Config, resuming: bool = False) -> None:
        recipe = RECIPES[config.recipe]
        self.model = checkpoint.build(config, recipe.initialization)
        # What is measured and published.
        self.published = checkpoint.build(config, recipe.initialization) if recipe.ema else self.model
        if config.weights is not None and not resuming:  # else a checkpoint holds what became of them
            checkpoint.load_weights(self.model, Path(config.weights), config)
            self.published.set_weights(self.model.get_weights())
        self.expansion = Expansion(self.model, recipe.overparameterization, config.seed)
        self.optimizer = _optimizer(recipe.optimizer, config.learning_rate)
        self.optimizer.build(self.expansion.trained())
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.seconds = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self.first_loss = tf.Variable(math.inf, dtype=tf.float32, trainable=False)
        self.best_loss = tf.Variable(math.inf, dtype=tf.float32, trainable=False)
        self.recoveries = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Of the schedule: how many steps there are to be, since which step, and the rate before that one.
        self.length = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.since = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.since_rate = tf.Variable(0.0, dtype=tf.float64, trainable=False)

    def learned(self) -> list[Any]:
        """The variables that an exploding loss spoils."""
        models = [*self.model.variables, *self.published.variables]
        return [*models, *self.expansion.variables, *self.optimizer.variables]


def _optimizer(name: str, rate: float) -> keras.optimizers.Optimizer:
    if name == "soap":
        return SOAP(rate, settled_after=SETTLED)
    return keras.optimizers.SGD(rate, momentum=MOMENTUM if name == "momentum" else 0.0)


def make_step(state: State, recipe: Recipe, dtype: tf.DType, xla: bool) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Makes the function that learns from one batch; with `strategy.run` around it, it is one replica's part.

    Args:
        state: what it changes.
        recipe: how to learn.
        dtype: what the convolutions reckon in.
        xla: compile the network and its gradient with XLA, which makes few large kernels of many small ones: faster on
            a GPU, slower on a processor.

    Returns:
        A function of `(batch, image_size, image_size, c_dim)` and `(batch, label_size, label_size, c_dim)` that
        changes the state, and returns the mean squared error before the change.
    """
    variables = state.expansion.trained()
    # Not the optimizer: XLA's own QR decomposition takes a kernel a column.
    gradients_of = tf.function(_gradients, autograph=False, jit_compile=True) if xla else _gradients

    def step(data: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        sizes = part_sizes(data.shape[0], dtype)
        parts = zip(sizes, tf.split(data, sizes), tf.split(label, sizes), strict=True)
        with tf.GradientTape() as tape:
            weights = state.expansion.products()
        # Nothing joins the parts before their sums, so that they run side by side, each in a core's cache.
        found = [gradients_of(weights, *part, size / sum(sizes), dtype, recipe.channels) for size, *part in parts]
        loss, *gradients = (tf.add_n(terms) for terms in zip(*found, strict=True))
        if recipe.optimizer == "momentum":
            # In proportion to the gradient, as plain descent with momentum is, this is a rate of their own.
            gradients = [part * gradient for part, gradient in zip(PAPER_RATES, gradients, strict=True)]
        state.optimizer.apply(tape.gradient(weights, variables, gradients), variables)
        state.expansion.collapse(state.model)
        if recipe.ema:
            # A short memory at first, or the random beginning would stay in the average.
            count = tf.cast(state.step, tf.float32)
            decay = tf.minimum(DECAY, (1 + count) / (10 + count))
            for mean, variable in zip(
                state.published.trainable_variables, state.model.trainable_variables, strict=True
            ):
                mean.assign_add((1 - decay) * (variable - mean))
        state.step.assign_add(1)
        return loss

    return step


def _gradients(
    weights: list[tf.Tensor],
    data: tf.Tensor,
    label: tf.Tensor,
    share: float,
    dtype: tf.DType,
    channels: tuple[int, int],
) -> list[tf.Tensor]:
    """The loss of a part of a batch, and its gradients, times the part's share."""
    with tf.GradientTape() as tape:
        tape.watch(weights)
        error = label - forward(weights, data, dtype)
        loss = share * tf.reduce_mean(tf.square(error[..., slice(*channels)]))
    return [loss, *tape.gradient(loss, weights)]


def part_sizes(batch_size: int, dtype: tf.DType) -> list[int]:
    """How many patches each independent part of a batch has: all on a GPU, else about as many as fit a cache."""
    if has_gpu():
        return [batch_size]
    parts = max(1, round(batch_size * dtype.size / PART_BYTES))
    return [batch_size * (part + 1) // parts - batch_size * part // parts for part in range(parts)]


Steps = Callable[[tf.Tensor, tf.Tensor, NDArray[np.int64], NDArray[np.float32]], tf.Tensor]


def compile_steps(state: State, config: Config, batch_size: int, xla: bool) -> Steps:
    """Compiles many steps in one call, over pairs that stay in the device's memory.

    Args:
        state: what the steps change.
        config: what to do.
        batch_size: pairs in a batch.
        xla: see `make_step`.

    Returns:
        A function of `(n, image_size, image_size, c_dim)` data and `(n, label_size, label_size, c_dim)` labels (see
        `on_device`), `(steps, batch_size)` places in them, and `(steps,)` rates, to the `(steps,)` losses.
    """
    recipe = RECIPES[config.recipe]
    step = make_step(state, recipe, compute_dtype(config), xla)
    sides = (config.image_size, config.label_size)

    def steps(all_data: tf.Tensor, all_label: tf.Tensor, places: tf.Tensor, rates: tf.Tensor) -> tf.Tensor:
        def one(number: tf.Tensor, losses: tf.TensorArray) -> tuple:
            data, label = tf.gather(all_data, places[number]), tf.gather(all_label, places[number])
            if recipe.flips:
                data, label = _flip(data, label, tf.stack([tf.constant(config.seed, tf.int64), state.step]))
            state.optimizer.learning_rate.assign(rates[number])
            return number + 1, losses.write(number, step(data, label))

        count = tf.shape(places)[0]
        begin = (tf.constant(0), tf.TensorArray(tf.float32, count))
        return tf.while_loop(lambda number, _: number < count, one, begin, parallel_iterations=1)[1].stack()

    signature = [tf.TensorSpec([None, side, side, config.c_dim], tf.float32) for side in sides]
    signature += [tf.TensorSpec([None, batch_size], tf.int64), tf.TensorSpec([None], tf.float32)]
    return tf.function(steps, input_signature=signature, autograph=False)


def on_device(array: NDArray[np.float32]) -> tf.Tensor:
    """Copies an array to where training computes, a GPU's memory if there is one."""
    with tf.device("GPU:0" if has_gpu() else "CPU:0"):
        return tf.identity(tf.convert_to_tensor(array))


def _flip(data: tf.Tensor, label: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns each pair of a batch into one of its eight mirror images, both halves alike."""
    # By name, so that each device and compiler draws the same.
    chosen = tf.random.stateless_uniform([3, tf.shape(data)[0], 1, 1, 1], seed, alg="philox") < 0.5
    turns = (
        lambda images: tf.reverse(images, [1]),
        lambda images: tf.reverse(images, [2]),
        lambda images: tf.transpose(images, [0, 2, 1, 3]),
    )
    for number, turn in enumerate(turns):
        data = tf.where(chosen[number], turn(data), data)
        label = tf.where(chosen[number], turn(label), label)
    return data, label
