"""SRCNN in TensorFlow and Keras: a faithful port of tegg89/SRCNN-Tensorflow, taken further.

    import srcnn_tf

    upscaled = srcnn_tf.upscale_image(image, scale=3)  # a NumPy array of any image, without TensorFlow
    model = srcnn_tf.load_model(scale=3)  # a Keras model

Each is loaded when it is first used. docs/architecture.md shows the modules and how data flows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srcnn_tf.api import load_model, upscale_image

__all__ = ["load_model", "upscale_image"]
__version__ = "1.0.0"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from srcnn_tf import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
