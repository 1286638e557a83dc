"""Upscaling with a trained network in NumPy; nothing here loads TensorFlow.

In reading order: `interpolation` merges bicubic interpolation into a convolution; `network` computes the three layers;
`polyphase` upscales an image by a whole factor, in tiles; `upscaler` upscales to any size, by networks and factors that
it chooses with `sizes`; `measured` scales data of any range for that. `image_files` upscales files, which `targets`
finds and names; `video` upscales videos. `ensemble` turns the filters for the self-ensemble. `gallery` writes a page to
compare images.
"""
