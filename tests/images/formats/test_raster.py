import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import synthetic_image
from image_files import by_tifffile

from srcnn_tf.api import upscale_image
from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.read import read_image
from srcnn_tf.images.reader import ImageReader
from srcnn_tf.upscaling.image_files import upscale_files

rasterio = pytest.importorskip("rasterio", reason="needs the extra geo")
pytest.importorskip("rasterio.shutil")
from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.enums import ColorInterp, MaskFlags  # noqa: E402
from rasterio.rpc import RPC  # noqa: E402
from rasterio.transform import Affine  # noqa: E402

TRANSFORM = Affine(10, 0, 399960, 0, -10, 4900020)
NOT_GEOREFERENCED = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
pytestmark = NOT_GEOREFERENCED


def bands(count, dtype=np.uint16, rows=40, cols=50):
    """Bands of different ranges."""
    made = [synthetic_image(rows, cols, seed)[..., seed % 3] * 20.0 * (seed + 1) for seed in range(count)]
    info = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    made = [band / band.max() * min(float(info.max), 4000) for band in made]
    return np.stack(made).astype(dtype)


def write(path, pixels, mask=None, tags=(), **profile):
    profile = {"crs": "EPSG:32633", "transform": TRANSFORM} | profile
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path,
            "w",
            **{"driver": "GTiff"} | profile,
            count=len(pixels),
            height=pixels.shape[1],
            width=pixels.shape[2],
            dtype=pixels.dtype,
        ) as file,
    ):
        file.write(pixels)
        file.update_tags(**dict(tags))
        if mask is not None:
            file.write_mask(mask)


def upscale(name, capsys, **flags):
    """Upscales a file to out/, and returns what is printed about it."""
    upscale_files(Config(input=name, output="out/", **flags))
    return [line.partition(": ")[2] for line in capsys.readouterr().out.splitlines() if line.startswith(f"{name}: ")]


def corners(transform, rows, cols):
    return np.array([transform @ corner for corner in ((0, 0), (cols, 0), (0, rows), (cols, rows))])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"])
@pytest.mark.parametrize("scale", [3, 2.5])
def test_each_band_is_upscaled_on_its_own_and_stays_where_it_is(dtype, scale, capsys):
    pixels = bands(5, dtype)
    write("a.tif", pixels)
    lines = upscale("a.tif", capsys, scale=scale)
    rows, cols = math.floor(40 * scale + 0.5), math.floor(50 * scale + 0.5)
    with rasterio.open(f"out/a_x{scale}.tif") as file:
        assert (file.crs.to_epsg(), file.dtypes, file.shape) == (32633, (dtype,) * 5, (rows, cols))
        assert np.abs(corners(file.transform, rows, cols) - corners(TRANSFORM, 40, 50)).max() < 1e-3 * 10 / scale
        assert (file.profile["tiled"], file.profile["compress"], file.profile["interleave"]) == (
            True,
            "deflate",
            "band",
        )
        for number, band in enumerate(pixels):
            np.testing.assert_array_equal(file.read(number + 1), upscale_image(band, scale))
    if np.dtype(dtype).itemsize > 1:
        assert [line.partition(":")[0] for line in lines] == [f"band {number}" for number in range(1, 6)]
        assert f"band 5: value range {pixels[4].min():g} to {pixels[4].max():g} (smallest and largest" in lines[4]


def test_what_is_said_of_a_raster_is_kept(capsys):
    pixels = bands(3)
    write("a.tif", pixels, tags={"SATELLITE": "S2A", "AREA_OR_POINT": "Point"})
    with rasterio.open("a.tif", "r+") as file:
        file.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.undefined]
        file.descriptions = ("B04", "B03", None)
        file.scales, file.offsets, file.units = (1e-4, 1e-4, 1), (-0.1, 0, 0), ("reflectance", None, "m")
        file.update_tags(2, WAVELENGTH="560")
        file.update_tags(ns="MISSION", ORBIT="12")
        file.update_tags(1, STATISTICS_MINIMUM=100, STATISTICS_MAXIMUM=3000)
        file.build_overviews([2])
    lines = upscale("a.tif", capsys)
    with rasterio.open("out/a_x3.tif") as file:
        assert [color.name for color in file.colorinterp] == ["red", "green", "undefined"]
        assert file.descriptions == ("B04", "B03", None)
        assert (file.scales, file.offsets, file.units) == ((1e-4, 1e-4, 1), (-0.1, 0, 0), ("reflectance", None, "m"))
        assert (file.tags()["SATELLITE"], file.tags()["AREA_OR_POINT"]) == ("S2A", "Point")
        assert (file.tags(2), file.tags(ns="MISSION"), file.tags(1)) == ({"WAVELENGTH": "560"}, {"ORBIT": "12"}, {})
        assert not file.overviews(1)
        assert np.abs(corners(file.transform, 120, 150) - corners(TRANSFORM, 40, 50)).max() < 1e-9
        np.testing.assert_array_equal(file.read(1), upscale_image(pixels[0], value_range=(100, 3000)))
    assert "its overviews are left out: gdaladdo makes new ones" in lines
    assert "its statistics are left out: they are those of the smaller image" in lines
    assert any(
        line.startswith("band 1 (B04): value range 100 to 3000 (GDAL's statistics); weights: ") for line in lines
    )


@pytest.mark.parametrize(
    ("dtype", "nodata"), [("uint16", 0), ("int16", -9999), ("float32", math.nan), ("float32", -1e30)]
)
@pytest.mark.parametrize("scale", [2, 3.3])
def test_missing_data_stay_exactly_and_do_not_bleed(dtype, nodata, scale, capsys):
    pixels = bands(2, dtype) + np.dtype(dtype).type(100)
    missing = np.zeros(pixels.shape, bool)
    missing[0, :20, 10:30], missing[1, 30:] = True, True
    holed = np.where(missing, np.array(nodata, dtype), pixels)
    write("a.tif", holed, nodata=nodata)
    upscale("a.tif", capsys, scale=scale)
    with rasterio.open(f"out/a_x{scale}.tif") as file:
        rows, cols = file.shape
        index = np.ix_((np.arange(rows) * 2 + 1) * 40 // (2 * rows), (np.arange(cols) * 2 + 1) * 50 // (2 * cols))
        np.testing.assert_equal(file.nodata, float(np.array(nodata, dtype)))
        for number in (0, 1):
            band, expected = file.read(number + 1), missing[number][index]
            np.testing.assert_array_equal(
                np.isnan(band) if math.isnan(nodata) else band == np.array(nodata, dtype), expected
            )
            np.testing.assert_array_equal(file.read_masks(number + 1) == 0, expected)
            assert pixels[number].min() <= band[~expected].min() <= band[~expected].max() <= pixels[number].max()


def test_no_data_get_the_value_for_missing_data_by_chance(capsys):
    rows = np.tile(np.array([[-8, -8, 8, 8]], np.int16), (1, 12))
    pixels = np.repeat(rows, 40, axis=0)[np.newaxis]
    pixels[0, :5, :5] = 0
    write("a.tif", pixels, nodata=0)
    upscale("a.tif", capsys)
    with rasterio.open("out/a_x3.tif") as file:
        assert (file.read(1) == 0).sum() == 15 * 15


@pytest.mark.parametrize("kind", ["mask", "alpha"])
def test_a_mask_and_alpha_are_enlarged_by_nearest_neighbour(kind, capsys):
    pixels, visible = bands(3, np.uint8), np.full((40, 50), 255, np.uint8)
    visible[10:20, 20:] = 0
    pixels[:, visible == 0] = 77
    if kind == "mask":
        write("a.tif", pixels, mask=visible)
    else:
        write("a.tif", np.concatenate([pixels, visible[np.newaxis]]), photometric="rgb", alpha="yes")
    upscale("a.tif", capsys)
    large = np.kron(visible, np.ones((3, 3), np.uint8))
    with rasterio.open("out/a_x3.tif") as file:
        np.testing.assert_array_equal(file.dataset_mask(), large)
        assert (MaskFlags.alpha in file.mask_flag_enums[0]) == (kind == "alpha")
        if kind == "alpha":
            np.testing.assert_array_equal(file.read(4), large)
        assert (file.read(1)[large == 0] == 77).all()
    first = Path("out/a_x3.tif").read_bytes()
    with rasterio.open("a.tif", "r+") as file:  # what is below the mask has no influence
        hidden = file.read(1)
        hidden[visible == 0] = 200
        file.write(hidden, 1)
    upscale("a.tif", capsys, overwrite=True)
    with rasterio.open("out/a_x3.tif") as file, rasterio.MemoryFile(first) as memory, memory.open() as former:
        np.testing.assert_array_equal(file.read(1)[large > 0], former.read(1)[large > 0])


def test_control_points_and_rpcs_are_scaled(capsys):
    points = [GroundControlPoint(row, col, 10 + col, 50 - row) for row, col in ((0, 0), (40, 0), (0, 50), (20, 25))]
    write("a.tif", bands(1), gcps=points, transform=Affine.identity(), crs="EPSG:4326")
    upscale("a.tif", capsys)
    with rasterio.open("out/a_x3.tif") as file:
        found, system = file.gcps
        assert system.to_epsg() == 4326
        expected = [(3 * point.row, 3 * point.col, point.x, point.y) for point in points]
        np.testing.assert_allclose([(point.row, point.col, point.x, point.y) for point in found], expected, atol=1e-6)
    zeros = [1.0, *[0.0] * 19]
    rpc = RPC(0, 1, 50, 1, zeros, zeros, 19.5, 20, 10, 1, zeros, zeros, 24.5, 25)
    write("b.tif", bands(1), rpcs=rpc, transform=Affine.identity(), crs=None)
    upscale("b.tif", capsys)
    with rasterio.open("out/b_x3.tif") as file:
        assert (file.rpcs.line_off, file.rpcs.samp_off) == pytest.approx((59.5, 74.5))  # the middle of 120 x 150
        assert (file.rpcs.line_scale, file.rpcs.samp_scale) == pytest.approx((60, 75))


@pytest.mark.skipif(shutil.which("gdalinfo") is None, reason="needs gdalinfo, of Debian's gdal-bin")
def test_gdal_finds_the_corners_where_they_were(capsys):
    write("a.tif", bands(2), nodata=0)
    upscale("a.tif", capsys, scale=2.5)

    def info(name):
        return json.loads(subprocess.run(["gdalinfo", "-json", name], capture_output=True, check=True).stdout)

    small, large = info("a.tif"), info("out/a_x2.5.tif")
    for name, corner in small["cornerCoordinates"].items():
        np.testing.assert_allclose(large["cornerCoordinates"][name], corner, atol=1e-3 * 4)
    assert large["size"] == [125, 100]
    assert large["coordinateSystem"]["wkt"] == small["coordinateSystem"]["wkt"]
    assert [band["noDataValue"] for band in large["bands"]] == [0, 0]


def test_a_band_of_sentinel_2(capsys):
    """JPEG 2000 of 15-bit values in tiles, as the mission's products are."""
    pixels = bands(1, rows=300, cols=260) * np.uint16(8)
    options = {
        "driver": "JP2OpenJPEG",
        "QUALITY": "100",
        "REVERSIBLE": "YES",
        "NBITS": 15,
        "BLOCKXSIZE": 128,
        "BLOCKYSIZE": 128,
    }
    write("T33_B08.jp2", pixels, **options)
    lines = upscale("T33_B08.jp2", capsys, scale=2)
    with rasterio.open("out/T33_B08_x2.tif") as file:
        np.testing.assert_array_equal(file.read(1), upscale_image(pixels[0], 2))
        assert (file.crs.to_epsg(), file.transform) == (32633, TRANSFORM @ Affine.scale(0.5))
    assert lines[0].startswith(f"value range {pixels.min()} to {pixels.max()} (smallest and largest value); weights: ")


GRIDS = [path for path in map(Path, ("/usr/share/proj/egm96_15.gtx", "/usr/share/proj/ntf_r93.gsb")) if path.is_file()]


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.name)
def test_rasters_that_others_wrote(path, capsys):
    """Grids of Debian's proj-data, which mapping agencies made: the geoid, and shifts between two systems."""
    shutil.copyfile(path, path.name)
    upscale(path.name, capsys, scale=2)
    with rasterio.open(path.name) as small, rasterio.open(f"out/{path.stem}_x2.tif") as large:
        assert (large.count, large.dtypes, large.crs) == (small.count, small.dtypes, small.crs)
        pixel = max(abs(small.transform.a), abs(small.transform.e)) / 2
        found, expected = corners(large.transform, *large.shape), corners(small.transform, *small.shape)
        assert np.abs(found - expected).max() < 1e-3 * pixel
        assert (large.descriptions, large.units) == (small.descriptions, small.units)


@pytest.mark.parametrize("name", ["a.vrt", "a.asc", "a.img"])
def test_other_rasters_become_geotiff(name, capsys):
    pixels = bands(1, np.float32)
    write("b.tif", pixels)
    rasterio.shutil.copy("b.tif", name, driver={"a.vrt": "VRT", "a.asc": "AAIGrid", "a.img": "HFA"}[name])
    upscale(name, capsys)
    with rasterio.open("out/a_x3.tif") as file:
        assert np.abs(corners(file.transform, 120, 150) - corners(TRANSFORM, 40, 50)).max() < 1e-3
        np.testing.assert_allclose(file.read(1), upscale_image(pixels[0]), atol=0.05)


def test_to_other_formats_with_a_note_and_without_the_extra(capsys, monkeypatch):
    write("a.tif", bands(1))
    upscale_files(Config(input="a.tif", output="b.png"))
    assert "a.tif: PNG holds no georeference and tags of a raster: left out" in capsys.readouterr().out
    np.testing.assert_array_equal(read_image("b.png", "0,65535"), upscale_image(bands(1)[0]) / np.float32(65535))
    monkeypatch.setattr("srcnn_tf.images.formats.raster.RASTERIO", False)
    upscale_files(Config(input="a.tif", output="c.tif"))
    assert "a.tif: its georeference is left out: pip install 'srcnn_tf[geo]' keeps it" in capsys.readouterr().out
    write("a.jp2", bands(1), driver="JP2OpenJPEG")
    with pytest.raises(RunError, match="1 of 1"):
        upscale_files(Config(input="a.jp2"))
    assert "JPEG 2000 needs another package: pip install 'srcnn_tf[geo]'" in capsys.readouterr().err


def test_a_plain_tiff_goes_the_way_of_plain_tiff_and_many_bands_do_not(capsys):
    Path("a.tif").write_bytes(by_tifffile(synthetic_image(20, 30), photometric="rgb"))
    with ImageReader("a.tif", 10**6) as reader:
        assert type(reader.images).__name__ == "TiffImages"
    Path("b.tif").write_bytes(by_tifffile(bands(6), photometric="minisblack", planarconfig="separate"))
    with ImageReader("b.tif", 10**6) as reader:
        assert len(reader) == 6


def test_a_world_file_beside_a_tiff_file_counts(capsys):
    Path("a.tif").write_bytes(by_tifffile(bands(1)[0]))
    Path("a.tfw").write_text("10\n0\n0\n-10\n500005\n4999995\n")  # the centre of the first pixel
    upscale("a.tif", capsys)
    with rasterio.open("out/a_x3.tif") as file:
        np.testing.assert_allclose(file.transform[:6], [10 / 3, 0, 500_000, 0, -10 / 3, 5_000_000])


def test_what_cannot_be_upscaled_is_said_in_one_line(capsys):
    write("palette.tif", bands(1, np.uint8))
    with rasterio.open("palette.tif", "r+") as file:
        file.write_colormap(1, {0: (255, 0, 0, 255)})
    write("complex.tif", bands(1).astype(np.complex64))
    write("nodata.vrt.tif", bands(2), nodata=5)
    content = Path("nodata.vrt.tif").read_bytes()
    Path("truncated.tif").write_bytes(content[: len(content) * 2 // 3])
    write("a.jp2", bands(1, rows=300, cols=300), driver="JP2OpenJPEG")
    content = Path("a.jp2").read_bytes()
    Path("truncated.jp2").write_bytes(content[: len(content) // 2])
    Path("garbage.jp2").write_bytes(content[:12] + bytes(range(256)) * 9)
    for name, reason in {
        "palette.tif": "classes with a palette) is not supported; enlarge them with gdal_translate -r nearest",
        "complex.tif": "complex64) is not supported; convert it to grey or RGB of 8 or 16 bits, or of floats, first.",
        "truncated.tif": "cannot be read as an image",
        "truncated.jp2": "cannot be read as an image",
        "garbage.jp2": "cannot be read as an image",
    }.items():
        with pytest.raises(RunError, match="1 of 1"):
            upscale_files(Config(input=name, output="out/"))
        error = capsys.readouterr().err.strip()
        assert error.splitlines()[-1].startswith(f"Problem: {name}: ")
        assert reason in error
    assert not list(Path("out").glob("*.tif")) if Path("out").exists() else True


def test_training_reads_rasters():
    write("a.tif", bands(1, np.int16), nodata=0)
    image = read_image("a.tif")
    assert (image.dtype, image.shape, image.min(), image.max()) == (np.float32, (40, 50), 0, 1)
