"""Image files, colour conversion, resizing and quality metrics; nothing here needs TensorFlow.

Read in this order: `color` (RGB to the network's channels and back), `resize` (MATLAB's and SciPy's), `metrics` (PSNR,
SSIM), `read` (training and test images). Then, for upscaling: `value_range` (which values of measured data the network
sees as 0 and 1), `page` (pixels with their metadata), `reader` and `writer` (files page by page, without losing bit
depth, alpha or metadata), and the folder `formats`, which has a module for each family of formats. They use `decode`
(Pillow), `encode` (bands in parallel), `metadata` (EXIF, XMP, colour space, ...) and `library_errors` (one error for
all that libraries raise).
"""
