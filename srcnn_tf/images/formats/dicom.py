"""DICOM: reads frames with pydicom as they are stored, and writes them with all attributes, corrected for their size.

Patient data are copied and never printed: errors of pydicom, which may quote them, are replaced.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.errors import RunError
from srcnn_tf.images.formats.interface import MAX_PIXELS, Family, Format, Images, Kind, Writer
from srcnn_tf.images.page import Page, as_array, check_size
from srcnn_tf.images.value_range import ValueRange

PYDICOM = find_spec("pydicom") is not None
DICOM = Format("DICOM", 65_535, MAX_PIXELS, alpha=False, dtypes=("uint8", "uint16", "int8", "int16"), has_pages=True)
GREY, COLOR, PALETTE = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_"), "PALETTE COLOR"
# Objects whose pixels are no image, or are placed by attributes that are not corrected here.
REFUSED = ("Segmentation", "RT ", "Whole Slide", "Parametric Map", "Surface", "Presentation State", "Tractography")
MAX_FRAMES = 65_536
MAX_BYTES = 2**32 - 2  # of all frames
SPACINGS = (
    *("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing", "ImagePlanePixelSpacing"),
    "ObjectPixelSpacingInCenterOfBeam",
)
# What is in pixels of the smaller image, or is not true of another one.
LEFT_OUT = {
    "calibration regions": ("SequenceOfUltrasoundRegions",),
    "shutter": (
        *("ShutterShape", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge"),
        *("ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter"),
        *("VerticesOfThePolygonalShutter", "ShutterPresentationValue", "ShutterPresentationColorCIELabValue"),
    ),
    "collimator": (
        *("CollimatorShape", "CollimatorLeftVerticalEdge", "CollimatorRightVerticalEdge"),
        *("CollimatorUpperHorizontalEdge", "CollimatorLowerHorizontalEdge", "CenterOfCircularCollimator"),
        *("RadiusOfCircularCollimator", "VerticesOfThePolygonalCollimator"),
    ),
    "mask subtraction": ("MaskSubtractionSequence",),
    "annotations": ("GraphicAnnotationSequence",),
    "digital signatures": ("DigitalSignaturesSequence", "MACParametersSequence"),
    "extremes of the series": ("SmallestPixelValueInSeries", "LargestPixelValueInSeries"),
}
# Of enhanced MR, those that only an original image may have (PS3.3, C.8.13.4 and C.8.13.7).
OF_ORIGINAL = (
    *("PulseSequenceName", "MRAcquisitionType", "EchoPulseSequence", "MultiPlanarExcitation", "PhaseContrast"),
    *("TimeOfFlightContrast", "SteadyStatePulseSequence", "EchoPlanarPulseSequence", "SaturationRecovery"),
    *("SpectrallySelectedSuppression", "OversamplingPhase", "GeometryOfKSpaceTraversal", "CoverageOfKSpace"),
    *("RectilinearPhaseEncodeReordering", "SegmentedKSpaceTraversal", "NumberOfKSpaceTrajectories"),
    "BulkMotionCompensationTechnique",
)
OF_COMPRESSION = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
OF_PALETTE = [
    f"{color}PaletteColorLookupTable{part}" for color in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")
]
OF_PALETTE += ["PaletteColorLookupTableUID"]
OF_OTHERS = ("Source", "Referenced", "Original", "Icon")  # beginnings of sequences that describe other images


class DicomImages(Images):
    """The frames of a DICOM file."""

    belongings = "patient data, geometry and other attributes of DICOM"

    def __init__(self, dataset: Any, path: str | os.PathLike[str], warnings: list[str]) -> None:
        """Takes a dataset that was checked."""
        self.dataset, self._path, self._warnings = dataset, path, warnings
        self._photometric = str(dataset.PhotometricInterpretation)
        if self._photometric == "MONOCHROME1":
            self.belongings += ", such as that the largest value is black (MONOCHROME1)"
        count = int(dataset.get("NumberOfFrames") or 1)
        shape: tuple[int, ...] = (dataset.Rows, dataset.Columns)
        size = dataset.BitsAllocated // 8
        if self.is_grey:
            dtype = np.dtype(f"{'i' if dataset.PixelRepresentation else 'u'}{size}")
        else:
            shape, dtype = (*shape, 3), np.dtype(np.uint8 if self._photometric == PALETTE else f"u{size}")
        self.kinds = [Kind(shape, dtype)] * count

    @property
    def is_grey(self) -> bool:
        """Whether the frames have one channel, which is no index into a palette."""
        return self._photometric in GREY

    def pages(self) -> Iterator[Page]:
        """Decodes and yields the frames."""
        for index, kind in enumerate(self.kinds):
            pixels = self._decode(index, kind)
            if not self.is_grey:
                yield Page(pixels)
                continue
            limits = _stored_limits(self.dataset)
            declared = self._declared_range(index, limits)
            mask, padding = self._padding(pixels)
            yield Page(pixels, mask=mask, nodata=padding, declared=declared, limits=limits)

    def _decode(self, index: int, kind: Kind) -> NDArray:
        from pydicom.pixels import apply_color_lut, pixel_array

        dataset = self.dataset
        with safe_errors(dataset), silent_libraries():
            pixels = pixel_array(dataset, index=index)
            if self._photometric == PALETTE:
                pixels = apply_color_lut(pixels, dataset)
                pixels = (pixels >> 8 if pixels.dtype == np.uint16 else pixels).astype(np.uint8)
        if self._photometric == PALETTE:
            self._warnings.append("its palette is applied: written as RGB")
        if pixels.shape != kind.shape or pixels.dtype.itemsize != kind.dtype.itemsize:
            raise ValueError(
                f"its pixels are {pixels.shape}, {pixels.dtype}, and it declares {kind.shape}, {kind.dtype}"
            )
        pixels = pixels.astype(kind.dtype)
        unused = dataset.BitsAllocated - dataset.BitsStored if self.is_grey else 0
        return (pixels << unused) >> unused  # which may hold an overlay

    def _declared_range(self, index: int, limits: tuple[float, float]) -> ValueRange | None:
        """Returns the range of the windows, in stored values, or of the stored bits."""
        windows = _numbers(self._frame_value(index, "FrameVOILUTSequence", "WindowCenter"))
        widths = _numbers(self._frame_value(index, "FrameVOILUTSequence", "WindowWidth"))
        slope, intercept = (
            (_numbers(self._frame_value(index, "PixelValueTransformationSequence", name)) or [default])[0]
            for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
        )
        if windows and len(windows) == len(widths) and slope and "ModalityLUTSequence" not in self.dataset:
            pairs = zip(windows, widths, strict=True)
            ends = [(center + side * width / 2 - intercept) / slope for center, width in pairs for side in (-1, 1)]
            low, high = max(min(ends), limits[0]), min(max(ends), limits[1])
            return ValueRange(low, high, limits, "window") if low < high else None
        if self.dataset.BitsStored < self.dataset.BitsAllocated:
            return ValueRange(*limits, limits, f"{self.dataset.BitsStored} bits stored")
        return None

    def _padding(self, pixels: NDArray) -> tuple[NDArray[np.bool_] | None, float | None]:
        """Returns where the frame has data, and the value where it has none."""
        values = [_numbers(self.dataset.get(name)) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
        if not values[0]:
            return None, None
        # Some programs write the same bits with the other sign than that of the pixels: 63536 for -2000.
        ends = [float(np.int64(value[0]).astype(pixels.dtype)) for value in values if value]
        mask = (pixels < min(ends)) | (pixels > max(ends))
        return (None, None) if mask.all() else (mask, ends[0] if len(ends) == 1 else None)

    def _frame_value(self, index: int, sequence: str, name: str) -> Any:
        """Returns an attribute of a frame: its own, that of all frames, or that of the whole file."""
        for groups, number in (("PerFrameFunctionalGroupsSequence", index), ("SharedFunctionalGroupsSequence", 0)):
            items = self.dataset.get(groups) or []
            item = items[number].get(sequence) if number < len(items) else None
            if item and name in item[0]:
                return item[0].get(name)
        return self.dataset.get(name)


class DicomWriter(Writer):
    """Writes frames with the attributes of the file that they are from, corrected for their size."""

    def __init__(self, path: Path, page_count: int, source: DicomImages) -> None:
        """Collects frames; the file is written when the last one is there."""
        self._path, self._page_count, self._source = path, page_count, source
        self._frames: list[bytes] = []

    def write(self, page: Page, warnings: list[str]) -> None:
        """Adds a frame; the last one writes the file."""
        rows, cols = page.pixels.shape[:2]
        if self._page_count * math.prod(page.pixels.shape) * page.pixels.dtype.itemsize > MAX_BYTES:
            raise RunError(f"{self._path}: DICOM holds 4 GB of pixels; {self._page_count} frames have more.")
        pixels = as_array(page.pixels)
        self._frames.append(np.ascontiguousarray(pixels).astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes())
        if len(self._frames) < self._page_count:
            return
        with safe_errors(self._source.dataset, passed=(OSError,)):
            derived = _derived(self._source, (rows, cols), page, warnings)
            content = b"".join(self._frames)
            derived.PixelData = content + bytes(len(content) % 2)
            derived["PixelData"].VR = "OW" if derived.BitsAllocated > 8 else "OB"
            if "SmallestImagePixelValue" in derived or "LargestImagePixelValue" in derived:
                values = np.frombuffer(content, pixels.dtype.newbyteorder("<"))
                for name, value in (
                    ("SmallestImagePixelValue", values.min()),
                    ("LargestImagePixelValue", values.max()),
                ):
                    if name in derived:
                        derived[name].VR = "SS" if pixels.dtype.kind == "i" else "US"
                        derived[name].value = int(value)
            derived.save_as(self._path, enforce_file_format=True)


def _derived(source: DicomImages, size: tuple[int, int], page: Page, warnings: list[str]) -> Any:
    """Returns a dataset without pixels for the upscaled frames, with identifiers of its own."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    original = source.dataset
    derived = pydicom.Dataset()
    for element in original:
        if element.tag.group & 0xFF01 == 0x6000:  # also in the pixels' unused bits
            warnings.append("its overlays are left out")
        elif element.keyword not in ("PixelData", *OF_COMPRESSION):
            derived.add(copy.deepcopy(element))
    if not original.original_encoding[1]:
        _swap_bytes(derived)
    for words, names in LEFT_OUT.items():
        found = [name for name in names if name in derived]
        if found:
            warnings.append(f"left out, as in pixels of the smaller image or true of it only: {words}")
        for name in found:
            del derived[name]
    is_enhanced = "Enhanced MR" in getattr(original.get("SOPClassUID"), "name", "")
    if found := [name for name in OF_ORIGINAL if is_enhanced and name in derived]:
        warnings.append("its pulse sequence is left out, which DICOM says of original images only")
        for name in found:
            del derived[name]
    scale = size[0] / original.Rows, size[1] / original.Columns
    _correct_geometry(derived, scale, None, None, warnings)
    derived.Rows, derived.Columns = size
    if not source.is_grey:
        derived.SamplesPerPixel, derived.PhotometricInterpretation, derived.PlanarConfiguration = 3, "RGB", 0
        derived.BitsAllocated = derived.BitsStored = 8 * page.pixels.dtype.itemsize
        derived.HighBit, derived.PixelRepresentation = derived.BitsStored - 1, 0
        for name in [name for name in OF_PALETTE if name in derived]:
            del derived[name]
    if original.file_meta.TransferSyntaxUID.is_compressed:
        warnings.append("it is compressed, and written without compression")
    series = str(original.get("SeriesInstanceUID", ""))
    derived.SeriesInstanceUID = generate_uid(entropy_srcs=[page.command, series])
    derived.SOPInstanceUID = generate_uid()
    former = f"{original.DerivationDescription}; " if original.get("DerivationDescription") else ""
    text = page.derivation.encode("ascii", "backslashreplace").decode()
    derived.DerivationDescription = (former + text)[-1024:]
    derived.DerivationCodeSequence = [_code("113085", "Spatial resampling")]
    if "SOPClassUID" in original and pydicom.uid.UID(original.get("SOPInstanceUID", "")).is_valid:
        item = pydicom.Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = original.SOPClassUID, original.SOPInstanceUID
        item.PurposeOfReferenceCodeSequence = [_code("121322", "Source image for image processing operation")]
        derived.SourceImageSequence = [item]
    derived.ImageType = ["DERIVED", *list(derived.get("ImageType") or ["", "SECONDARY"])[1:]]
    derived.file_meta = pydicom.dataset.FileMetaDataset()
    derived.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    if "SOPClassUID" not in derived:
        derived.SOPClassUID = original.file_meta.MediaStorageSOPClassUID
    derived.file_meta.MediaStorageSOPClassUID = derived.SOPClassUID
    derived.file_meta.MediaStorageSOPInstanceUID = derived.SOPInstanceUID
    return derived


def _code(value: str, meaning: str) -> Any:
    """Returns a code of DICOM's own scheme (PS3.16, annex D)."""
    import pydicom

    item = pydicom.Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _correct_geometry(
    item: Any, scale: tuple[float, float], spacing: Any, orientation: Any, warnings: list[str]
) -> None:
    """Corrects spacings, and the position of the first pixel's centre, in a dataset and the sequences in it.

    Args:
        item: the dataset.
        scale: how many times as many rows and columns there are.
        spacing: pixel spacing (rows, columns) of what `item` is in, before it was corrected.
        orientation: image orientation of what `item` is in.
        warnings: gets what cannot be corrected.
    """
    shared = (item.get("SharedFunctionalGroupsSequence") or [None])[0]
    for holder in (shared, item):
        if holder is not None:
            spacing = _nested(holder, "PixelMeasuresSequence", "PixelSpacing") or spacing
            orientation = _nested(holder, "PlaneOrientationSequence", "ImageOrientationPatient") or orientation
    if position := _numbers(item.get("ImagePositionPatient")):
        if spacing and orientation and len(orientation) == 6 and len(position) == 3:
            across, down = np.array(orientation[:3]), np.array(orientation[3:])
            # Pixel 0 has its centre at 0.5 pixels: at 0.5 / scale of the former ones.
            offset = across * spacing[1] * (0.5 / scale[1] - 0.5) + down * spacing[0] * (0.5 / scale[0] - 0.5)
            item.ImagePositionPatient = [_decimal(value) for value in np.array(position) + offset]
        else:
            del item["ImagePositionPatient"]
            warnings.append("its position is left out, as it has no spacing or orientation")
    for name in SPACINGS:
        values = _numbers(item.get(name))
        if len(values) == 2:
            setattr(item, name, [_decimal(value / factor) for value, factor in zip(values, scale, strict=True)])
    ratio = _numbers(item.get("PixelAspectRatio"))
    if len(ratio) == 2 and all(ratio) and abs(scale[0] - scale[1]) > 1e-9:
        item.PixelAspectRatio = [round(10_000 * ratio[0] * scale[1]), round(10_000 * ratio[1] * scale[0])]
    if "FrameType" in item:
        item.FrameType = ["DERIVED", *list(item.FrameType)[1:]]
    for element in item:
        if element.VR == "SQ" and not element.keyword.startswith(OF_OTHERS):
            for inner in element.value:
                _correct_geometry(inner, scale, spacing, orientation, warnings)


def _nested(item: Any, sequence: str, name: str) -> list[float]:
    """Returns the numbers of an attribute of a dataset, or of the first item of a sequence in it."""
    inner = item.get(sequence)
    return _numbers(item.get(name)) or (_numbers(inner[0].get(name)) if inner else [])


def _numbers(value: Any) -> list[float]:
    """Returns one or several values as a list of numbers; an empty list if there are none."""
    if value is None or isinstance(value, (str, bytes)):
        return []
    try:
        return [float(each) for each in (value if hasattr(value, "__iter__") else [value])]
    except (TypeError, ValueError):
        return []


def _decimal(value: float) -> str:
    """Formats a number as a decimal string (DS), which has 16 characters at most."""
    return next(text for digits in range(15, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)


def _stored_limits(dataset: Any) -> tuple[float, float]:
    """Returns the smallest and the largest value that the stored bits can have."""
    bits = dataset.BitsStored
    return (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0.0, 2.0**bits - 1)


def _swap_bytes(dataset: Any) -> None:
    """Reverses the bytes of the numbers that pydicom keeps as bytes, of a file in big-endian order."""
    sizes = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
    for element in dataset.iterall():
        if element.VR in sizes and isinstance(element.value, bytes):
            element.value = np.frombuffer(element.value, f"u{sizes[element.VR]}").byteswap().tobytes()


def _check(dataset: Any, path: str | os.PathLike[str]) -> None:
    """Raises a RunError for what would be read or written wrongly."""
    uid = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
    name = getattr(uid, "name", "") or "of an unknown kind"
    if "PixelData" not in dataset:
        raise RunError(f"{path}: holds no image with whole numbers ({name}); leave it out.")
    photometric, bits = str(dataset.get("PhotometricInterpretation")), dataset.get("BitsAllocated")
    stored, samples = dataset.get("BitsStored"), dataset.get("SamplesPerPixel")
    is_grey = photometric in (*GREY, PALETTE)
    kinds = {
        f"{name}, whose pixels are no image or are placed otherwise": any(word in name for word in REFUSED),
        "parts of a slide": "TotalPixelMatrixColumns" in dataset,
        f"{bits} bits": bits not in (8, 16),
        f"photometric interpretation {photometric}": not is_grey and not photometric.startswith(COLOR),
        f"{samples} samples per pixel of {photometric}": samples != (1 if is_grey else 3),
        f"{stored} bits stored of {bits}": not isinstance(stored, int) or not 1 <= stored <= (bits or 0),
        "stored bits that are not the lowest": dataset.get("HighBit") != (stored or 0) - 1,
        "pixels with no known sign": dataset.get("PixelRepresentation") not in (0, 1),
    }
    for kind, is_found in kinds.items():
        if is_found:
            raise RunError(
                f"{path}: this kind of DICOM file ({kind}) is not supported; expected grey of 8 to 16 bits, "
                "RGB or a palette."
            )


@contextlib.contextmanager
def safe_errors(dataset: Any, passed: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Replaces errors of pydicom and of decoders, which may quote patient data."""
    try:
        yield
    except Exception as error:
        if isinstance(error, (RunError, *passed)):
            raise
        text = str(error)
        syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
        if "missing dependencies" in text or "missing required dependencies" in text or "plugins are missing" in text:
            raise ValueError(
                f"{getattr(syntax, 'name', 'its compression')} needs decoders: pip install 'srcnn_tf[dicom]'"
            ) from None
        raise ValueError("its DICOM structure or its pixel data are damaged or not supported") from None


@contextlib.contextmanager
def silent_libraries() -> Iterator[None]:
    """Keeps what decoders in C print about damaged files from the terminal."""
    try:
        sys.stderr.flush()
        former, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # it is closed
        yield
        return
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(former, 2)
        os.close(former)
        os.close(nowhere)


class DicomFamily(Family):
    """DICOM files with images."""

    rank = 10
    extensions = frozenset({".dcm", ".dicom", ".ima"})  # also without pydicom: the error then names it
    outputs = MappingProxyType({".dcm": DICOM})
    needs_source = True

    def recognizes(self, file: BinaryIO, path: str | os.PathLike[str]) -> bool:
        """Looks at the signature (PS3.10, section 7.1)."""
        file.seek(128)
        return file.read(4) == b"DICM"

    def size(self, file: BinaryIO, path: str | os.PathLike[str]) -> tuple[int, int]:
        """Returns rows and columns."""
        dataset = _read(file, stop_before_pixels=True)
        return int(dataset.Rows), int(dataset.Columns)

    @contextlib.contextmanager
    def open(
        self, file: BinaryIO, path: str | os.PathLike[str], max_pixels: int, advice: str, warnings: list[str]
    ) -> Iterator[DicomImages]:
        """Reads the file with pydicom, which decodes no pixel yet."""
        dataset = _read(file)
        with safe_errors(dataset):
            _check(dataset, path)
            rows, cols, count = dataset.Rows, dataset.Columns, int(dataset.get("NumberOfFrames") or 1)
            if not (rows and cols and count > 0):
                raise ValueError("it has no pixels")
            check_size(path, rows, cols, max_pixels, advice)
            if "TransferSyntaxUID" not in dataset.file_meta:
                raise ValueError("it does not say how its pixels are stored")
            is_compressed = dataset.file_meta.TransferSyntaxUID.is_compressed
            least = 1 if is_compressed else rows * cols * dataset.BitsAllocated // 8
            if count > MAX_FRAMES or len(dataset.PixelData) < count * least:
                raise RunError(f"{path}: declares {count:,} frames, more than are in it, or than {MAX_FRAMES:,}.")
            images = DicomImages(dataset, path, warnings)
        yield images

    def create(self, path: Path, extension: str, page_count: int, quality: int, source: Images | None) -> DicomWriter:
        """Begins a file."""
        assert isinstance(source, DicomImages)
        return DicomWriter(path, page_count, source)


def is_unnamed_dicom(path: Path) -> bool:
    """Tells whether a file without an extension, or with a number for one, as in an identifier, is DICOM."""
    if not (path.suffix == "" or path.suffix[1:].isdecimal()) or path.name == "DICOMDIR":
        return False
    try:
        if not path.is_file():  # opening a pipe would wait forever
            return False
        with open(path, "rb") as file:
            return FAMILY.recognizes(file, path)
    except OSError:
        return False


def _read(file: BinaryIO, **options: Any) -> Any:
    if not PYDICOM:
        raise ValueError("DICOM needs another package: pip install 'srcnn_tf[dicom]'")
    import pydicom

    file.seek(0)
    with safe_errors(None):
        return pydicom.dcmread(file, **options)


FAMILY = DicomFamily()
