"""Testing and upscaling with a trained network.

In reading order: `tiling` runs the network on images of any size, and `rounding` converts it to bfloat16; `evaluate`
tests it on images, with `report` (comparison images, table, CSV) and `tensorboard` (logs); `upscale` upscales the
user's own arrays and image files.
"""
