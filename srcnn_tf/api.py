"""The Python API: upscales arrays, and gives out the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from srcnn_tf.config import EDGES, check_factor
from srcnn_tf.errors import UsageError
from srcnn_tf.images.page import as_array
from srcnn_tf.images.resize import nearest
from srcnn_tf.images.value_range import DTYPES, dtype_range, finite_values, fixed_range, range_of
from srcnn_tf.spec import NetworkSpec
from srcnn_tf.upscaling.sizes import scaled_size
from srcnn_tf.upscaling.upscaler import Upscaler
from srcnn_tf.weights.search import WeightsSearch

if TYPE_CHECKING:
    import keras


def upscale_image(
    image: ArrayLike | Image.Image,
    scale: float = 3,
    architecture: str = "9-1-5",
    weights: str | None = None,
    precision: str = "float32",
    size: tuple[int, int] | None = None,
    self_ensemble: bool = False,
    degradation: str = "matlab",
    value_range: str | tuple[float, float] | None = None,
    edges: str = "mirror",
) -> NDArray:
    """Upscales an image: bicubic, with its luma restored by the network.

    Args:
        image: `(rows, cols)` or `(rows, cols, channels)` with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA, not
            premultiplied) channels; integers of up to 32 bits, floats, or booleans, which become 0 and 255. Or an image
            of Pillow. Alpha is full at the largest value of integers, and at 1 of floats. What is masked in a masked
            array of NumPy has no data.
        scale: upscaling factor; any number above 1, up to 16.
        architecture: see `load_model`.
        weights: see `load_model`.
        precision: has no effect any more, and stays for programs that give it: upscaling computes in float32.
        size: rows and columns of the result, instead of `scale`; the aspect ratio may change.
        self_ensemble: average over the eight flips and transposes of the image; takes 8 times as long.
        degradation: see `load_model`; `jpeg` for an image that was compressed.
        value_range: the values `(low, high)` that become 0 and 1 for the network; those outside are interpolated only.
            `data`: the smallest and the largest one, within which the result stays; `dtype`: all of the dtype, 0 to 1
            of floats. Default: `dtype` of 8 bits, else `data` without single values far from all others. Parts of one
            image need the same range.
        edges: what is beyond the edges: `mirror`, the mirror image, or `wrap`, the image again, for textures that tile.

    Returns:
        `(scale * rows, scale * cols[, channels])`, halves rounded up, or of `size`; of the same dtype. NaN and infinite
        values stay what they are, enlarged by nearest neighbour. So does what is masked, where the result is masked.

    Raises:
        ValueError: `image` is not such an array.
        UsageError: there is no such architecture, degradation, value range or kind of edges, or the scale is out of
            range.
        RunError: the size is smaller than the image, or there are no weights.
    """
    pixels = _as_pixels(image)
    actual = f"found shape {pixels.shape}, dtype {pixels.dtype}"
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(f"expected an image (rows, cols) or (rows, cols, channels) of 1 to 4 channels, {actual}")
    if pixels.dtype.name not in DTYPES:
        raise ValueError(f"expected one of {', '.join(DTYPES)}, {actual}")
    check_factor(scale)
    if edges not in EDGES:
        raise UsageError(f"edges={edges!r}: expected one of {', '.join(EDGES)}")
    spec = NetworkSpec(architecture=architecture, degradation=degradation)
    upscaler = Upscaler(spec, WeightsSearch(weights), self_ensemble=self_ensemble, edges=edges)
    values = fixed_range(value_range, pixels.dtype)
    mask: NDArray[np.bool_] | None = None
    if isinstance(image, np.ma.MaskedArray):
        mask = ~np.any(np.ma.getmaskarray(image).reshape(*pixels.shape[:2], -1), axis=-1)
    if values is None:
        values = range_of([finite_values(pixels, mask)], value_range) or dtype_range(pixels.dtype)
    size = size or scaled_size(pixels.shape[0], pixels.shape[1], scale)
    upscaled = as_array(upscaler(pixels, size, values=values, mask=mask))
    if mask is None:
        return upscaled
    rows, cols = (nearest(old, new) for old, new in zip(mask.shape, size, strict=True))
    result = np.ma.array(upscaled, fill_value=getattr(image, "fill_value", None))
    result[~mask[rows][:, cols]] = np.ma.masked
    return result


def _as_pixels(image: ArrayLike | Image.Image) -> NDArray:
    """Returns an array in the byte order of this machine; booleans and palettes become uint8."""
    # Modes I and F have integers and floats of 32 bits.
    if isinstance(image, Image.Image) and image.mode.partition(";")[0] not in ("1", "L", "LA", "RGB", "RGBA", "I", "F"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    pixels = np.asarray(image)
    if pixels.dtype == bool:
        return pixels * np.uint8(255)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def load_model(
    scale: int = 3, architecture: str = "9-1-5", degradation: str = "matlab", weights: str | None = None
) -> keras.Model:
    """Loads the network with the weights of this package, or with others; loads TensorFlow.

    Args:
        scale: upscaling factor; 2, 3 or 4.
        architecture: filter sizes of the three layers: 9-1-5 or 9-5-5.
        degradation: what the network was trained on: `matlab`, the paper's bicubic; `jpeg` or `jpeg90`, the same with
            JPEG compression, strong or weak; or `scipy`, the reference's zooms.
        weights: SRCNN.weights.h5, SRCNN.keras, a run's folder, or a checkpoint of the reference.

    Returns:
        A model of standard Keras layers. Its input `(batch, rows, cols, 1)` is luma in [0, 1] of an image that was
        already upscaled (in the studio range but for `scipy`, see `color.rgb_to_ycbcr`). Its output is restored luma
        without a border of 6 pixels (9-1-5) or 8 (9-5-5).

    Raises:
        UsageError: there is no such architecture or degradation.
        RunError: there are no such weights.
    """
    from srcnn_tf.weights.models import find_model

    spec = NetworkSpec(scale, degradation, architecture)
    return find_model(spec, WeightsSearch(weights))[0]
