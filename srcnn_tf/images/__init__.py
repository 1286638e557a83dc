"""Image files, colour conversion, resizing and quality metrics; nothing here needs TensorFlow.

Read in this order: `color` (RGB to the network's channels and back), `resize` (MATLAB's and SciPy's), `metrics` (PSNR,
SSIM), `read` (training and test images as uint8). Then, for upscaling: `formats` (what each holds), `page` (pixels with
their metadata), `reader` and `writer` (files page by page, without losing bit depth, alpha or metadata). They use
`decode` (Pillow), `tiff` (tifffile), `encode` (bands in parallel), `metadata` (EXIF, XMP, colour space, ...)
and `library_errors` (one error for all that libraries raise).
"""
