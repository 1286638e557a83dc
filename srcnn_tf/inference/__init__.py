"""Testing and upscaling with a trained network.

In reading order: `tiling` restores interpolated images of any size; `evaluate` tests it on images, with `report`
(comparison images, table, CSV), `gallery` (a page for the browser) and `tensorboard` (logs). `polyphase` upscales
small images, faster; `upscale` does so with the user's own arrays and image files, to a size and by the factors that
`sizes` computes. `ensemble` turns the filters of both for the self-ensemble. `cluster` spreads the images of both
over several machines. `video` upscales videos, and `export` writes the network for other programs.
"""
