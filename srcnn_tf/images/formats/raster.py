"""Rasters with a georeference: what GDAL reads (GeoTIFF, JPEG 2000 and many more), by rasterio; written as GeoTIFF.

Each band is a page of grey. Bands are read and written in windows, so that only a few rows are in memory.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from tifffile import TiffFile, TiffPage

from srcnn_tf.errors import RunError
from srcnn_tf.images.formats.interface import Family, Format, Images, Kind, Writer
from srcnn_tf.images.library_errors import library_errors
from srcnn_tf.images.page import Page, RowStream, band_rows, check_size, unsupported
from srcnn_tf.images.resize import nearest
from srcnn_tf.images.value_range import DTYPES, ValueRange, dtype_limits

RASTERIO = find_spec("rasterio") is not None
GEOTIFF = Format("GeoTIFF", 2**31 - 1, dtypes=DTYPES, has_pages=True, metadata=("nodata",))
JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
# Of other formats that are no rasters, which GDAL reads without all that `photo` keeps.
OTHERS = re.compile(rb"\x89PNG|\xff\xd8|GIF8|BM|RIFF....WEBP|....ftyp|II|MM|.{128}DICM|\x93NUMPY|%PDF", re.DOTALL)
# GeoTIFF 1.1, section 7.1; rational polynomial coefficients; GDAL's metadata.
GEOREFERENCE = {33550, 33922, 34264, 34735, 50844, 42112}
WORLD_FILES = (".tfw", ".TFW", ".wld")  # with the transform of a TIFF file beside it
CACHE = 96 * 2**20  # bytes of GDAL's cache; its default is a twentieth of the memory
BLOCK = 512  # rows and columns of a tile of the result
MAX_ROWS = 2048  # that are read at once
STATISTICS = ("STATISTICS_MINIMUM", "STATISTICS_MAXIMUM")
# Namespaces of tags that are true of the file that was read only.
OWN_NAMESPACES = {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS", "SUBDATASETS", "RPC", "GEOLOCATION", "COLOR_PROFILE"}


class RasterImages(Images):
    """The bands of a raster, without its alpha, which is a mask."""

    is_stack = False
    belongings = "georeference and tags of a raster"

    def __init__(self, dataset: Any, path: str | os.PathLike[str], warnings: list[str]) -> None:
        """Takes a rasterio dataset whose size was checked."""
        self.dataset, self._path, self._warnings = dataset, path, warnings
        colors = [color.name for color in dataset.colorinterp]
        self.alpha = [index for index, color in zip(dataset.indexes, colors, strict=True) if color == "alpha"]
        self.indexes = [index for index in dataset.indexes if index not in self.alpha]
        dtypes = dict(zip(dataset.indexes, dataset.dtypes, strict=True))
        if "palette" in colors:
            raise unsupported(path, "classes with a palette", "enlarge them with gdal_translate -r nearest -outsize")
        if strange := [dtypes[index] for index in self.indexes if dtypes[index] not in DTYPES]:
            raise unsupported(path, f"numbers of type {strange[0]}")
        self.kinds = [Kind(dataset.shape, np.dtype(dtypes[index])) for index in self.indexes]

    def pages(self) -> Iterator[Page]:
        """Yields the bands."""
        for index, kind in zip(self.indexes, self.kinds, strict=True):
            label = self.dataset.descriptions[index - 1]
            name = f"band {index}{f' ({label})' if label else ''}: " if len(self.indexes) > 1 else ""
            flags = {flag.name for flag in self.dataset.mask_flag_enums[index - 1]}
            mask = None if "all_valid" in flags else RowStream(kind.shape, np.bool_, self.masks(index))
            pixels = RowStream(kind.shape, kind.dtype, self.bands(index, kind))
            yield Page(
                pixels,
                mask=mask,
                nodata=self.nodata(index),
                declared=self._declared_range(index, kind),
                name=name,
            )

    def nodata(self, index: int) -> float | None:
        """Returns the value for missing data; None if there is none, or it is none that the band can have."""
        value, dtype = self.dataset.nodatavals[index - 1], np.dtype(self.dataset.dtypes[index - 1])
        if value is None or dtype.kind == "f":
            return value
        low, high = dtype_limits(dtype)
        return value if low <= value <= high and float(value).is_integer() else None

    def bands(self, index: int, kind: Kind) -> Iterator[NDArray]:
        """Yields the values of a band, in bands of rows."""
        for window in self._windows(index, kind):
            with library_errors(self._path), readable_errors():
                band = self.dataset.read(index, window=window)
            yield band

    def masks(self, index: int) -> Iterator[NDArray[np.bool_]]:
        """Yields where a band has data, in bands of rows."""
        for window in self._windows(index, Kind(self.dataset.shape, np.dtype(np.uint8))):
            with library_errors(self._path), readable_errors():
                mask = self.dataset.read_masks(index, window=window)
            yield mask > 0

    def _windows(self, index: int, kind: Kind) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Yields windows of whole rows of blocks, as the file stores them, if these are not too high."""
        (rows, cols), height = kind.shape, min(self.dataset.block_shapes[index - 1][0], MAX_ROWS)
        step = math.ceil(min(band_rows(kind.shape, kind.dtype), MAX_ROWS) / height) * height
        return (((begin, min(begin + step, rows)), (0, cols)) for begin in range(0, rows, step))

    def _declared_range(self, index: int, kind: Kind) -> ValueRange | None:
        """Returns the range of values in GDAL's statistics."""
        tags = self.dataset.tags(index)
        try:
            low, high = (float(tags[name]) for name in STATISTICS)
        except (KeyError, ValueError):
            return None
        is_range = low < high and np.isfinite(high - low)
        return ValueRange(low, high, dtype_limits(kind.dtype), "GDAL's statistics") if is_range else None


class RasterWriter(Writer):
    """Writes a GeoTIFF band by band: tiled, compressed, and BigTIFF where needed."""

    def __init__(self, path: Path, source: RasterImages) -> None:
        """Begins no file before the first band."""
        self._path, self._source = path, source
        self._remaining = list(source.indexes)
        self._target: Any = None

    def write(self, page: Page, warnings: list[str]) -> None:
        """Writes a band; with the last one, alpha and mask."""
        size = page.pixels.shape[0], page.pixels.shape[1]
        if self._target is None:
            self._target = self._create(size, warnings)
        index = self._remaining.pop(0)
        self._write_rows(index, page.pixels)
        if not self._remaining:
            self._write_masks(size)

    def __exit__(self, *error: object) -> None:
        """Closes the file, and checks that all of it is on the disk, as GDAL does not say so."""
        if self._target is not None:
            with quiet_errors():
                self._target.close()
            if error[0] is None:
                _check_complete(self._path)

    def _create(self, size: tuple[int, int], warnings: list[str]) -> Any:
        """Creates the file with what belongs to the whole raster and to each band."""
        import rasterio

        source = self._source.dataset
        dtypes = {source.dtypes[index - 1] for index in source.indexes}
        dtype = np.result_type(*dtypes)
        if len(dtypes) > 1:
            warnings.append(f"its bands have several types of numbers: written as {dtype}")
        nodata = {self._source.nodata(index) for index in self._source.indexes}
        if len({str(value) for value in nodata}) > 1:
            raise RunError(f"{self._path}: GeoTIFF holds one value for missing data, and the bands have {len(nodata)}.")
        colors = [color.name for color in source.colorinterp]
        target = rasterio.open(
            self._path,
            "w",
            driver="GTiff",
            height=size[0],
            width=size[1],
            count=source.count,
            dtype=dtype,
            nodata=next(iter(nodata)),
            tiled=True,
            blockxsize=BLOCK,
            blockysize=BLOCK,
            interleave="band",
            compress="deflate",
            zlevel=1,
            predictor=3 if dtype.kind == "f" else 2,
            bigtiff="if_safer",
            num_threads="all_cpus",
            photometric="rgb" if colors[:3] == ["red", "green", "blue"] else "minisblack",
            alpha="yes" if self._source.alpha == [source.count] else "no",
        )
        try:
            _copy_georeference(source, target)
            _copy_descriptions(source, target, warnings)
        except BaseException:
            target.close()
            raise
        return target

    def _write_rows(self, index: int, pixels: Any) -> None:
        rows, cols = pixels.shape[:2]
        for begin in range(0, rows, BLOCK):
            end = min(begin + BLOCK, rows)
            band = pixels[begin:end].reshape(end - begin, cols).astype(self._target.dtypes[index - 1], copy=False)
            with readable_errors():
                self._target.write(band, index, window=((begin, end), (0, cols)))

    def _write_masks(self, size: tuple[int, int]) -> None:
        """Enlarges alpha and the mask by nearest neighbour."""
        source = self._source
        for index in source.alpha:
            alpha = np.dtype(source.dataset.dtypes[index - 1])
            rows = RowStream(source.dataset.shape, alpha, source.bands(index, Kind(source.dataset.shape, alpha)))
            self._write_rows(index, _nearest_rows(rows, size))
        flags = {flag.name for flags in source.dataset.mask_flag_enums for flag in flags}
        if "per_dataset" in flags and "alpha" not in flags:
            mask = _nearest_rows(RowStream(source.dataset.shape, np.bool_, source.masks(1)), size)
            for begin in range(0, size[0], BLOCK):
                end = min(begin + BLOCK, size[0])
                with readable_errors():
                    self._target.write_mask(mask[begin:end], window=((begin, end), (0, size[1])))


def _nearest_rows(rows: RowStream, size: tuple[int, int]) -> RowStream:
    """Enlarges rows by nearest neighbour."""
    lines, cols = nearest(rows.shape[0], size[0]), nearest(rows.shape[1], size[1])

    def bands() -> Iterator[NDArray]:
        for begin in range(0, size[0], BLOCK):
            chosen = lines[begin : begin + BLOCK]
            yield rows[chosen[0] : chosen[-1] + 1][chosen - chosen[0]][:, cols]

    return RowStream(size, rows.dtype, bands())


def _copy_georeference(source: Any, target: Any) -> None:
    """Gives the larger raster the same place: transform, control points and RPCs (pixels are counted from 0)."""
    from rasterio.control import GroundControlPoint
    from rasterio.rpc import RPC
    from rasterio.transform import Affine

    down, right = target.height / source.height, target.width / source.width
    points, system = source.gcps
    if points:
        scaled = [
            GroundControlPoint(point.row * down, point.col * right, point.x, point.y, point.z, point.id, point.info)
            for point in points
        ]
        target.gcps = scaled, system
    elif not source.transform.is_identity:
        place = source.transform
        across, along = (place.a / right, place.d / right), (place.b / down, place.e / down)
        target.transform = Affine(across[0], along[0], place.c, across[1], along[1], place.f)
    if source.crs is not None and not points:
        target.crs = source.crs
    if source.rpcs is not None:
        values = source.rpcs.to_dict()
        # Offsets are those of pixel centres: pixel 0 is from -0.5 to 0.5.
        for name, factor in (("line", down), ("samp", right)):
            values[f"{name}_off"] = (values[f"{name}_off"] + 0.5) * factor - 0.5
            values[f"{name}_scale"] *= factor
        target.rpcs = RPC(**values)


def _copy_descriptions(source: Any, target: Any, warnings: list[str]) -> None:
    """Copies what is said of the raster and its bands, but for what is true of the smaller one only."""
    target.colorinterp = source.colorinterp
    target.descriptions = source.descriptions
    target.units = source.units
    target.scales, target.offsets = source.scales, source.offsets
    for index in (0, *source.indexes):
        namespaces = [None, *source.tag_namespaces(index)] if index else [None, *source.tag_namespaces()]
        for namespace in namespaces:
            if namespace in OWN_NAMESPACES:
                continue
            tags = source.tags(index, ns=namespace) if index else source.tags(ns=namespace)
            kept = {name: value for name, value in tags.items() if not name.startswith("STATISTICS_")}
            if len(kept) < len(tags):
                warnings.append("its statistics are left out: they are those of the smaller image")
            if namespace and namespace.startswith("xml:"):
                warnings.append(f"its metadata {namespace} are left out")
            elif kept:
                target.update_tags(index, ns=namespace, **kept) if index else target.update_tags(ns=namespace, **kept)
    if any(source.overviews(index) for index in source.indexes):
        warnings.append("its overviews are left out: gdaladdo makes new ones")


def _check_complete(path: Path) -> None:
    """Raises an OSError if a tile of a TIFF file is not there."""
    size = os.path.getsize(path)
    with TiffFile(path) as file:
        for page in cast(Iterator[TiffPage], file.pages):
            ends = [begin + count for begin, count in zip(page.dataoffsets, page.databytecounts, strict=True)]
            if min(page.databytecounts) < 1 or max(ends) > size:
                raise OSError(28, "it is not complete; is the disk full?")


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Raises GDAL's own message in place of rasterio's, which says that there is one."""
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise ValueError(str(cause)) from error


@contextlib.contextmanager
def quiet_errors() -> Iterator[None]:
    """Leaves errors on closing to the check that follows."""
    with contextlib.suppress(Exception):
        yield


class RasterFamily(Family):
    """GeoTIFF, JPEG 2000 and all other rasters that GDAL reads."""

    rank = 20
    # JPEG 2000 also without rasterio: the error then names it. Other programs use the other endings too.
    extensions = frozenset({".jp2", ".j2k"}) | frozenset(
        {".img", ".vrt", ".bil", ".bsq", ".bip", ".asc", ".dem", ".hgt", ".ers", ".grd", ".ntf", ".mrf"}
        if RASTERIO
        else ()
    )
    outputs = dict.fromkeys((".tif", ".tiff"), GEOTIFF)
    needs_source = True

    def recognizes(self, file: BinaryIO, path: str | os.PathLike[str]) -> bool:
        """Takes TIFF files with a georeference, in or beside them, or many bands; JPEG 2000; what else GDAL opens."""
        file.seek(0)
        head = file.read(132)
        if head.startswith(JPEG_2000):
            return True
        if not RASTERIO:
            return False
        if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            has_world_file = any(Path(path).with_suffix(suffix).is_file() for suffix in WORLD_FILES)
            return has_world_file or _is_georeferenced(file)
        if OTHERS.match(head):
            return False
        try:
            with _opened(path):
                return True
        except Exception:  # of rasterio and others
            return False

    def size(self, file: BinaryIO, path: str | os.PathLike[str]) -> tuple[int, int]:
        """Returns rows and columns."""
        with _opened(path) as dataset:
            return dataset.shape

    @contextlib.contextmanager
    def open(
        self, file: BinaryIO, path: str | os.PathLike[str], max_pixels: int, advice: str, warnings: list[str]
    ) -> Iterator[RasterImages]:
        """Opens the file with rasterio."""
        if not RASTERIO:
            raise ValueError("JPEG 2000 needs another package: pip install 'srcnn_tf[geo]'")
        with contextlib.ExitStack() as stack:
            with readable_errors():
                dataset = stack.enter_context(_opened(path))
            if not dataset.count:
                held = f"; it holds {len(dataset.subdatasets)} others" if dataset.subdatasets else ""
                raise ValueError(f"there is no raster in it{held}: extract one with gdal_translate")
            check_size(path, dataset.height, dataset.width, max_pixels, advice)
            yield RasterImages(dataset, path, warnings)

    def create(self, path: Path, extension: str, page_count: int, quality: int, source: Images | None) -> RasterWriter:
        """Begins a file."""
        assert isinstance(source, RasterImages)
        return RasterWriter(path, source)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    import rasterio

    options = {"GDAL_CACHEMAX": CACHE, "GDAL_TIFF_INTERNAL_MASK": True, "GDAL_NUM_THREADS": "ALL_CPUS"}
    with rasterio.Env(**options), rasterio.open(os.path.abspath(path)) as dataset:
        yield dataset


def _is_georeferenced(file: BinaryIO) -> bool:
    """Tells whether a TIFF file has tags of GeoTIFF or GDAL, or more bands than `tiff` reads."""
    file.seek(0)
    try:
        with TiffFile(file) as tiff:
            page = cast(TiffPage, tiff.pages[0])
            is_grey = page.tags.valueof(262) in (0, 1)
            return any(code in page.tags for code in GEOREFERENCE) or (is_grey and page.samplesperpixel > 2)
    except Exception:  # it is damaged, as `tiff` reports
        return False


FAMILY = RasterFamily()
