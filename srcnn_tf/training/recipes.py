"""How to train: the recipes that `--recipe` names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """How to train: what is not a flag, and the defaults of the flags that depend on it.

    The defaults here are plain gradient descent as in the reference.
    """

    epoch: int
    learning_rate: float
    optimizer: str  # 'sgd' | 'soap'
    momentum: float = 0.0  # of 'sgd'
    layer_rates: tuple[float, ...] | None = None  # factors of the learning rate, kernel and bias of each layer
    validation_split: float = 0.0
    initialization: str = "gaussian"  # 'gaussian' | 'he' | 'identity', see training.step.create_state
    shuffle: str = "never"  # 'never' | 'once' | 'each epoch'
    flips: bool = False  # flip and transpose each patch at random
    grid_offsets: bool = False  # downscale from another random offset of the pixel grid in each epoch
    cosine_decay: bool = False  # warm-up, then half a cosine down to 0; else a constant learning rate
    overparameterization: int = 1  # its expansion factor, see training.overparameterization
    huber_delta: float | None = None  # of the Huber loss; None: squared error
    caffe_loss: bool = False  # learning_rate is for half the sum of squares over a label; for our mean it is larger
    print_steps: bool = False  # print the reference's line every 10 steps; else a progress bar
    require_full_batch: bool = True  # fewer patches than batch_size are an error; else they make one smaller batch


RECIPES = {
    "modern": Recipe(
        epoch=30,
        learning_rate=6e-3,
        optimizer="soap",
        validation_split=0.05,
        initialization="identity",
        shuffle="each epoch",
        flips=True,
        grid_offsets=True,
        cosine_decay=True,
        overparameterization=2,
        huber_delta=0.02,
        require_full_batch=False,
    ),
    # tegg89/SRCNN-Tensorflow, main.py's defaults and model.py's training loop.
    "reference": Recipe(epoch=15000, learning_rate=1e-4, optimizer="sgd", print_steps=True),
    # Dong et al. (TPAMI 2016, section 3.3) and their Caffe solver. 36,556 epochs of the 91 images are their 8e8
    # back-propagations.
    "paper": Recipe(
        epoch=36556,
        learning_rate=1e-4,
        optimizer="sgd",
        momentum=0.9,
        layer_rates=(1.0, 0.1, 1.0, 0.1, 0.1, 0.1),  # 1e-4 and 1e-5; those of the biases are of the Caffe solver
        shuffle="once",
        caffe_loss=True,
    ),
}
