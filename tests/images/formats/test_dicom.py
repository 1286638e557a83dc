import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import synthetic_image

from srcnn_tf.api import upscale_image
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.read import read_image
from srcnn_tf.upscaling.image_files import upscale_files
from srcnn_tf.upscaling.video.recognize import is_video

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
from pydicom.data import get_testdata_file  # noqa: E402
from pydicom.dataset import FileMetaDataset  # noqa: E402
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid  # noqa: E402

TESTDATA = Path(pydicom.data.__file__).parent
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def write(path, pixels, **attributes):
    """Writes a CT slice of these pixels, as pydicom does."""
    made = pydicom.Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = CTImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SeriesInstanceUID, made.StudyInstanceUID = "1.2.3.4", "1.2.3"
    made.PatientName, made.PatientID, made.Modality = "Secret^Name", "12345", "CT"
    made.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    frames = pixels if attributes.get("NumberOfFrames") else pixels[np.newaxis]
    made.Rows, made.Columns = frames.shape[1:3]
    made.SamplesPerPixel = frames.shape[3] if frames.ndim == 4 else 1
    if made.SamplesPerPixel == 3:
        made.PlanarConfiguration = 0
    made.PhotometricInterpretation = "RGB" if made.SamplesPerPixel == 3 else "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = 8 * pixels.dtype.itemsize
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(pixels.dtype.kind == "i")
    for name, value in attributes.items():
        setattr(made, name, value)
    made.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    made["PixelData"].VR = "OW" if made.BitsAllocated > 8 else "OB"
    made.save_as(path, enforce_file_format=True)
    return made


def upscale(name, capsys, **flags):
    upscale_files(Config(input=name, output="out/", **flags))
    printed = capsys.readouterr().out
    assert "Secret" not in printed
    return [line.partition(": ")[2] for line in printed.splitlines() if line.startswith(f"{name}: ")]


def ct(rows=40, cols=50, seed=0):
    return (synthetic_image(rows, cols, seed)[..., 0] * 9.0 - 1000).astype(np.int16)


def test_a_slice_is_upscaled_and_its_geometry_is_corrected(capsys):
    geometry = {
        "PixelSpacing": [0.6, 0.9],
        "ImagePositionPatient": [-100, 50, 20.5],
        "ImageOrientationPatient": [1, 0, 0, 0, 0.8, 0.6],
        "SliceThickness": 3,
    }
    values = {"RescaleSlope": 2, "RescaleIntercept": -24, "WindowCenter": -200, "WindowWidth": 3000}
    original = write("a.dcm", ct(), **geometry, **values, SmallestImagePixelValue=-1000, LargestImagePixelValue=1295)
    lines = upscale("a.dcm", capsys)
    written = pydicom.dcmread("out/a_x3.dcm")
    # The window is -1700 to 1300 in Hounsfield units, which are twice the stored values minus 24.
    expected = upscale_image(ct(), value_range=(-838, 662))
    np.testing.assert_array_equal(written.pixel_array, expected)
    assert lines[0].startswith("value range -838 to 662 (window); weights: ")
    assert (written.Rows, written.Columns, written.SliceThickness) == (120, 150, 3)
    assert written.PixelSpacing == pytest.approx([0.2, 0.3])
    # The centre of the first pixel was 0.3 and 0.45 mm within the image's corner, and is 0.1 and 0.15 now.
    assert written.ImagePositionPatient == pytest.approx([-100.3, 50 - 0.2 * 0.8, 20.5 - 0.2 * 0.6])
    assert (written.RescaleSlope, written.RescaleIntercept) == (2, -24)
    assert (written.WindowCenter, written.WindowWidth) == (-200, 3000)
    assert (written.SmallestImagePixelValue, written.LargestImagePixelValue) == (expected.min(), expected.max())
    assert (written.PatientName, written.PatientID) == (original.PatientName, "12345")
    assert written.StudyInstanceUID == "1.2.3"
    assert written.SOPInstanceUID == written.file_meta.MediaStorageSOPInstanceUID != original.SOPInstanceUID
    assert list(written.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    for words in ("Upscaled 3 times", "SRCNN 9-1-5", "x3 matlab: shipped", "Not for diagnosis."):
        assert words in written.DerivationDescription
    assert written.SourceImageSequence[0].ReferencedSOPInstanceUID == original.SOPInstanceUID


def test_a_series_gets_one_new_identifier_for_each_command(capsys):
    Path("in").mkdir()
    for number in range(3):
        write(f"in/{number}.dcm", ct(seed=number))
    found = []
    for output in ("one", "two"):
        upscale_files(Config(input="in", output=output))
        found.append([pydicom.dcmread(path).SeriesInstanceUID for path in sorted(Path(output).glob("*.dcm"))])
    assert [len(uids) for uids in found] == [3, 3]
    assert len({"1.2.3.4", *found[0], *found[1]}) == 3
    assert (
        len({pydicom.dcmread(path).SOPInstanceUID for path in [*Path("one").glob("*.dcm"), *Path("in").glob("*.dcm")]})
        == 6
    )


def test_a_dicom_file_is_no_video():
    """FFmpeg takes some for one: it finds a JPEG 2000 image in them."""
    head, pixels = bytes(128) + b"DICM", Path(get_testdata_file("JPEG2000.dcm")).read_bytes()[132:]
    Path("a.dcm").write_bytes(head + pixels)
    assert not is_video(Path("a.dcm"))
    assert not [path for path in every_file() if path.read_bytes()[128:132] == b"DICM" and is_video(path)]


def test_files_without_an_extension_are_found_by_their_content():
    Path("in").mkdir()
    for name in ("IM0001", "1.2.840.113"):
        write(f"in/{name}", ct())
    Path("in/README").write_text("no image")
    shutil.copyfile(TESTDATA / "test_files/dicomdirtests/DICOMDIR", "in/DICOMDIR")
    upscale_files(Config(input="in", output="out"))
    assert sorted(path.name for path in Path("out").glob("*.dcm")) == ["1.2.840.113_x3.dcm", "IM0001_x3.dcm"]


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_stored_bits_limit_results(dtype, photometric, capsys):
    bits = 8 if dtype == "uint8" else 12
    low = -(2 ** (bits - 1)) if dtype == "int16" else 0
    pixels = np.where(np.arange(50) % 10 < 5, low, low + 2**bits - 1)[np.newaxis].repeat(40, axis=0).astype(dtype)
    write("a.dcm", pixels, BitsStored=bits, HighBit=bits - 1, PhotometricInterpretation=photometric)
    lines = upscale("a.dcm", capsys)
    written = pydicom.dcmread("out/a_x3.dcm")
    assert (written.BitsStored, written.PhotometricInterpretation) == (bits, photometric)
    assert low <= written.pixel_array.min() < written.pixel_array.max() <= low + 2**bits - 1
    if bits == 12:
        assert lines[0].startswith(f"value range {low} to {low + 4095} (12 bits stored); weights")
        write("b.dcm", (pixels // 16).astype(dtype), BitsStored=bits, HighBit=bits - 1)
        assert "(smallest and largest value)" in upscale("b.dcm", capsys)[0]


def test_colour_frames_and_palette(capsys):
    frames = np.stack([synthetic_image(20, 30, seed) for seed in range(3)])
    write("a.dcm", frames, NumberOfFrames=3)
    upscale("a.dcm", capsys)
    written = pydicom.dcmread("out/a_x3.dcm")
    np.testing.assert_array_equal(written.pixel_array, [upscale_image(frame) for frame in frames])
    shutil.copyfile(get_testdata_file("examples_palette.dcm"), "palette.dcm")
    lines = upscale("palette.dcm", capsys, scale=2)
    small, written = pydicom.dcmread("palette.dcm"), pydicom.dcmread("out/palette_x2.dcm")
    colors = (pydicom.pixels.apply_color_lut(small.pixel_array, small) >> 8).astype(np.uint8)
    np.testing.assert_array_equal(written.pixel_array, upscale_image(colors, 2))
    assert (written.PhotometricInterpretation, "RedPaletteColorLookupTableData" in written) == ("RGB", False)
    assert "its palette is applied: written as RGB" in lines


def test_functional_groups_of_frames_are_corrected(capsys):
    def item(**values):
        made = pydicom.Dataset()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    shared = item(
        PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.5])],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
        FrameVOILUTSequence=[item(WindowCenter=1000, WindowWidth=2000)],
    )
    frames = [item(PlanePositionSequence=[item(ImagePositionPatient=[0, 0, number])]) for number in (0, 5)]
    pixels = np.stack([ct(seed=seed) + np.int16(1000) for seed in (0, 1)]).astype(np.uint16)
    write(
        *("a.dcm", pixels),
        NumberOfFrames=2,
        SharedFunctionalGroupsSequence=[shared],
        PerFrameFunctionalGroupsSequence=frames,
    )
    assert "value range 0 to 2000 (window)" in upscale("a.dcm", capsys, scale=2)[0]
    written = pydicom.dcmread("out/a_x2.dcm")
    measures = written.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.PixelSpacing == [0.25, 0.25]
    positions = [
        frame.PlanePositionSequence[0].ImagePositionPatient for frame in written.PerFrameFunctionalGroupsSequence
    ]
    assert positions == [[-0.125, -0.125, 0], [-0.125, -0.125, 5]]


@pytest.mark.parametrize(("representation", "value"), [("SS", -2000), ("US", 63536)])
def test_padding_stays_and_overlays_are_left_out_with_a_note(representation, value, capsys):
    pixels = ct()
    pixels[:10] = -2000
    made = write("a.dcm", pixels)
    made.add_new("PixelPaddingValue", representation, value)
    made.save_as("a.dcm", enforce_file_format=True)
    upscale("a.dcm", capsys)
    np.testing.assert_array_equal(
        pydicom.dcmread("out/a_x3.dcm").pixel_array == -2000, np.arange(120)[:, None] < 30 + np.zeros(150)
    )
    shutil.copyfile(get_testdata_file("examples_overlay.dcm"), "b.dcm")
    assert "its overlays are left out" in upscale("b.dcm", capsys)
    assert not [element for element in pydicom.dcmread("out/b_x3.dcm") if element.tag.group & 0xFF00 == 0x6000]


def test_a_big_endian_file_and_a_compressed_one(capsys):
    for name in ("MR_small_bigendian.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small.dcm"):
        shutil.copyfile(get_testdata_file(name), name)
        lines = upscale(name, capsys)
        written = pydicom.dcmread(f"out/{Path(name).stem}_x3.dcm")
        small = pydicom.dcmread("MR_small.dcm") if Path("MR_small.dcm").exists() else pydicom.dcmread(name)
        np.testing.assert_array_equal(written.pixel_array, upscale_image(small.pixel_array, value_range=(-200, 1400)))
        assert written.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert ("it is compressed, and written without compression" in lines) == (
            "big" not in name and name != "MR_small.dcm"
        )


def every_file():
    return sorted(path for path in TESTDATA.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc"))


def test_no_file_of_pydicoms_own_causes_a_traceback_and_what_is_written_is_dicom(capsys):
    """Each is upscaled, or refused in one line that says why and quotes nothing of its content."""
    Path("in").mkdir()
    for number, path in enumerate(every_file()):
        shutil.copyfile(path, f"in/{number:03}_{path.name.replace('.', '_')}.dcm")
    with pytest.raises(RunError, match="files could not be upscaled"):
        upscale_files(Config(input="in", output="out", scale=2))
    printed = capsys.readouterr()
    written = list(Path("out").glob("*.dcm"))
    problems = [line for line in printed.err.splitlines() if line.startswith("Problem: ")]
    assert len(written) + len(problems) == len(every_file())
    assert len(written) > 60
    assert "Traceback" not in printed.err
    assert not [
        line for line in printed.err.splitlines() if line and "Problem: " not in line and "megapixels" not in line
    ]
    for path in written:
        dataset = pydicom.dcmread(path)
        assert dataset.pixel_array.shape[-3 if dataset.SamplesPerPixel == 3 else -2 :][:2] == (
            dataset.Rows,
            dataset.Columns,
        )
        assert str(dataset.get("PatientName") or "nobody") not in printed.out + printed.err


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dciodvfy, of dicom3tools")
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "examples_rgb_color.dcm", "examples_overlay.dcm"])
def test_dciodvfy_finds_no_error_that_was_not_there(name, capsys):
    shutil.copyfile(get_testdata_file(name), "a.dcm")
    upscale("a.dcm", capsys)

    def errors(path):
        done = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
        return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}

    assert errors("out/a_x3.dcm") <= errors("a.dcm")


def test_hostile_and_truncated_files_give_one_line(capsys):
    content = Path(get_testdata_file("CT_small.dcm")).read_bytes()
    compressed = Path(get_testdata_file("MR_small_jp2klossless.dcm")).read_bytes()
    write("none.dcm", ct()[np.newaxis], NumberOfFrames=2**30)
    write("huge.dcm", ct(), Rows=65535, Columns=65535)
    write("signed.dcm", ct(), BitsStored=20)
    cases = {
        "short.dcm": content[: len(content) // 2],
        "head.dcm": content[:200],
        "compressed.dcm": compressed[:3000],
        "signature.dcm": bytes(128) + b"DICM",
        "other.dcm": b"something else",
    }
    for name, made in cases.items():
        Path(name).write_bytes(made)
    for name in [*cases, "none.dcm", "huge.dcm", "signed.dcm"]:
        with pytest.raises(RunError, match="1 of 1"):
            upscale_files(Config(input=name, output="out/"))
        error = capsys.readouterr().err.strip().splitlines()
        assert next(line for line in error if "megapixels [" not in line).startswith(f"Problem: {name}: "), error
    assert not Path("out").exists() or not list(Path("out").glob("*.dcm"))


def test_to_other_formats_and_from_other_formats(capsys):
    write("a.dcm", ct())
    note = "TIFF holds no patient data, geometry and other attributes of DICOM"
    assert f"{note}: left out" in upscale("a.dcm", capsys, format="tif")
    write("a.dcm", ct(), PhotometricInterpretation="MONOCHROME1")
    upscale_files(Config(input="a.dcm", output="b.tif"))
    assert f"{note}, such as that the largest value is black (MONOCHROME1): left out" in capsys.readouterr().out
    assert b"Secret" not in Path("b.tif").read_bytes()
    with pytest.raises(RunError, match="1 of 1"):
        upscale_files(Config(input="b.tif", output="c.dcm"))
    assert (
        "c.dcm: DICOM is written only of DICOM, whose attributes it keeps; use .png or .tif." in capsys.readouterr().err
    )


def test_training_reads_slices(monkeypatch):
    write("a.dcm", ct(), WindowCenter=0, WindowWidth=1000)
    image = read_image("a.dcm")
    np.testing.assert_allclose(image, ((ct() + 500.0) / 1000).clip(0, 1), atol=1e-6)
    monkeypatch.setattr("srcnn_tf.images.formats.dicom.PYDICOM", False)
    with pytest.raises(RunError, match=r"a\.dcm: .*DICOM needs another package: pip install 'srcnn_tf\[dicom\]'"):
        read_image("a.dcm")
