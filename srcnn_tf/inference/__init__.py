"""Testing and upscaling with a trained network.

In reading order: `tiling` restores interpolated images of any size; `evaluate` tests it on images, with `report`
(comparison images, table, CSV) and `tensorboard` (logs). `polyphase` upscales small images, faster; `upscale` does so
with the user's own arrays and image files. `cluster` spreads the images of both over several machines.
"""
