"""The weights that training starts from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

IDENTITY_FILTERS = 4  # filters per channel and layer that pass the image on, but at most an eighth of a layer's


def start_as_identity(weights: list[NDArray], seed: int = 0) -> list[NDArray]:
    """Changes random weights so that the network returns about its input, and no filter is dead.

    Pixels are positive, so a random filter responds to nearly all patches with the sign of its weights' sum; where that
    is negative, ReLU lets no gradient through, for good. Here the weights of each filter add up to about 0, but for a
    few filters i of the first layer, which are g[i] in the middle; j of the second, which are the mean of
    h[j] / g[i] over i; and the last layer adds the mean of 1 / h[j] over j. So the image is passed on.

    Args:
        weights: is changed; kernels and biases of a model of `model.build_model`, as He's initialization leaves them.
        seed: seed of the random gains.
    """
    (first, _, second, _, last, _), rng = weights, np.random.default_rng(seed)
    c_dim = last.shape[3]
    counts = [kernel.shape[3] for kernel in (first, second)]
    counts = [min(count, max(c_dim, min(IDENTITY_FILTERS * c_dim, count // 8))) for count in counts]
    # Of each filter that passes the image on, its gain for each channel: not 0 for one of them. The next layer divides.
    gains = [rng.uniform(0.5, 1.5, (count, 1)) * np.eye(c_dim)[np.arange(count) % c_dim] for count in counts]
    means = [np.divide(1, gain, where=gain > 0, out=np.zeros_like(gain)) for gain in gains]
    means = [mean / np.maximum(1, (mean > 0).sum(0)) for mean in means]

    first -= first.mean((0, 1))
    second -= second.mean((0, 1, 2))
    first[..., : counts[0]] = 0
    second[:, :, : counts[0]] = 0
    second[..., : counts[1]] = 0
    _center(first)[:, : counts[0]] = gains[0].T
    _center(second)[: counts[0], : counts[1]] = means[0] @ gains[1].T
    _center(last)[: counts[1]] += means[1]
    return weights


def _center(kernel: NDArray) -> NDArray:
    """Returns a view of the middle tap of a kernel, `(c_in, c_out)`."""
    return kernel[kernel.shape[0] // 2, kernel.shape[1] // 2]
