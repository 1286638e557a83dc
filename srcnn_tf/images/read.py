"""Reads training and test images as uint8 arrays."""

from __future__ import annotations

from srcnn_tf.images.pictures import ENDINGS as IMAGE_EXTENSIONS
from srcnn_tf.images.pictures import declared_size, fingerprint, read_image

__all__ = ["IMAGE_EXTENSIONS", "declared_size", "fingerprint", "read_image"]
