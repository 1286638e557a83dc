"""Testing a trained network with TensorFlow.

In reading order: `tiling` restores interpolated images of any size; `evaluate` tests it on images, with `report`
(comparison images, table, CSV), `page` (for the browser) and `tensorboard` (logs).
"""
