"""Families of image formats: one module for each, behind the interface that `interface` defines.

`interface` says what a family is. `registry` finds the modules of this folder, and knows which one reads a file and
which format holds an image. `photo` is BMP, GIF, JPEG, PNG, WebP, AVIF and HEIC (`vp8`: how coarse a WebP file is);
`tiff` is TIFF; `raster` is GeoTIFF and all others that GDAL reads; `dicom` is DICOM. A further family is one more
module here, with an instance of `interface.Family` named FAMILY.
"""
