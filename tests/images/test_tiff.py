import io
import itertools
import lzma
import os
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import as_stored, drawn
from PIL import Image, ImageCms

from srcnn_tf.errors import RunError
from srcnn_tf.images.photo import Photo, read_photo, write_photo
from srcnn_tf.images.tiff import MOST_PAGES

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def by_hand(rows, cols, strips, bits=(8,), photometric=1, compression=1, rows_per_strip=None, order="<", more=()):
    """A TIFF file of one page. Tags are `(tag, type, values)`; types 3 and 4 are whole numbers of 16 and 32 bits."""
    places = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    tags = {
        256: (4, [cols]),
        257: (4, [rows]),
        258: (3, bits),
        259: (3, [compression]),
        262: (3, [photometric]),
        273: (4, places),
        277: (3, [len(bits)]),
        278: (4, [rows_per_strip or rows]),
        279: (4, [len(strip) for strip in strips]),
    } | {tag: (kind, values) for tag, kind, values in more}
    pixels = b"".join(strips)
    place = 8 + len(pixels) + len(pixels) % 2
    table, beside = struct.pack(order + "H", len(tags)), b""
    for tag, (kind, values) in sorted(tags.items()):
        content = struct.pack(f"{order}{len(values)}{'HI'[kind - 3]}", *values)
        if len(content) > 4:
            where = struct.pack(order + "I", place + 6 + 12 * len(tags) + len(beside))
            beside, content = beside + content + bytes(len(content) % 2), where
        table += struct.pack(order + "HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "I", place) + pixels + bytes(len(pixels) % 2) + table + bytes(4) + beside


def read(content, most_pixels=10**6):
    Path("a.tif").write_bytes(content)
    pages, notices = read_photo("a.tif", most_pixels)
    return list(pages), notices


def only(content):
    (photo,), notices = read(content)
    assert notices == []
    return photo.pixels


def by_tifffile(pixels, **options):
    written = io.BytesIO()
    tifffile.imwrite(written, pixels, metadata=None, **options)
    return written.getvalue()


def by_pillow(picture, **options):
    written = io.BytesIO()
    picture.save(written, "TIFF", **options)
    return written.getvalue()


def sampled(kind, *shape):
    return np.random.default_rng(3).integers(0, np.iinfo(kind).max + 1, shape).astype(kind)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"byteorder": ">", "compression": "zlib", "predictor": True},
        {"compression": "lzw", "rowsperstrip": 7},
        {"tile": (16, 32), "compression": "zstd", "predictor": True},
        {"tile": (32, 16)},
        {"planarconfig": "separate", "compression": "packbits"},
        {"planarconfig": "separate", "tile": (16, 16), "byteorder": ">"},
    ],
    ids=str,
)
def test_every_layout_is_read_with_all_its_bits(kind, channels, options):
    pixels = sampled(kind, 40, 50, channels)[..., slice(None) if channels > 1 else 0]
    options = dict(options)
    if channels > 1:
        options.setdefault("planarconfig", "contig")
    else:
        options.pop("planarconfig", None)
    if channels in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    stored = np.moveaxis(pixels, -1, 0) if options.get("planarconfig") == "separate" else pixels
    content = by_tifffile(stored, photometric="rgb" if channels > 2 else "minisblack", **options)
    found = only(content)
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype == kind
    assert found.dtype.isnative


MODES = ["L", "RGB", "RGBA", "LA", "CMYK"]
COMPRESSIONS = [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "lzma", "zstd"]


@pytest.mark.parametrize(
    ("mode", "compression"),
    [*itertools.product(["1", "P", *MODES], COMPRESSIONS), *((mode, "jpeg") for mode in MODES)],
)
def test_what_pillow_writes_is_read_as_pillow_reads_it(mode, compression):
    content = by_pillow(Image.fromarray(drawn(40, 50)).convert(mode), compression=compression)
    with Image.open(io.BytesIO(content)) as picture:
        expected = picture.convert({"1": "L", "P": "RGB", "CMYK": "RGB"}.get(mode, mode))
    # Two decoders of JPEG, that need not round alike.
    np.testing.assert_allclose(only(content).astype(int), np.asarray(expected), atol=2 if compression == "jpeg" else 0)


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
@pytest.mark.parametrize("white", [0, 1])
def test_faxes_are_black_where_they_are(compression, white):
    bits = np.asarray(Image.fromarray(drawn(40, 61)).convert("1"))
    content = by_pillow(Image.fromarray(bits), compression=compression, tiffinfo={262: white})
    with Image.open(io.BytesIO(content)) as picture:
        expected = np.asarray(picture.convert("L"))
    np.testing.assert_array_equal(only(content), expected)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_jpeg_with_its_own_colours_becomes_rgb(subsampling, tile):
    pixels = np.asarray(Image.fromarray(drawn(8, 9)).resize((90, 80)))
    content = by_tifffile(
        pixels, photometric="rgb", compression="jpeg", compressionargs={"level": 98}, subsampling=subsampling, tile=tile
    )
    assert np.abs(only(content).astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", range(1, 17))
def test_any_number_of_bits_fills_the_whole_range(bits, order):
    samples = np.random.default_rng(bits).integers(0, 2**bits, (5, 8))
    samples[0, :2] = 0, 2**bits - 1
    if bits == 16:
        packed = samples.astype(order + "u2").tobytes()
    else:
        packed = int("".join(f"{value:0{bits}b}" for value in samples.ravel()), 2).to_bytes(5 * bits, "big")
    most = 255 if bits <= 8 else 65535
    expected = np.rint(samples * (most / (2**bits - 1)))
    np.testing.assert_array_equal(only(by_hand(5, 8, [packed], (bits,), order=order)), expected)
    inverted = only(by_hand(5, 8, [packed], (bits,), photometric=0, order=order))
    np.testing.assert_array_equal(inverted, most - expected)


@pytest.mark.parametrize("both_halves", [True, False])
def test_palettes_of_both_customs_give_eight_bits(both_halves):
    places, colors = sampled(np.uint8, 6, 7) % 4, sampled(np.uint8, 4, 3).astype(np.uint16)
    table = np.zeros((256, 3), np.uint16)
    table[:4] = colors * (257 if both_halves else 256)
    content = by_hand(6, 7, [places.tobytes()], photometric=3, more=[(320, 3, table.T.ravel().tolist())])
    np.testing.assert_array_equal(only(content), colors[places])


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_colour_that_was_multiplied_by_alpha_is_divided_by_it(kind, channels):
    most = np.iinfo(kind).max
    alpha = sampled(kind, 300, 5, 1).astype(np.int64)
    alpha[:2] = [[[0]], [[most]]]
    color = np.rint(np.random.default_rng(1).random((300, 5, channels - 1)) * alpha).astype(np.int64)
    pixels = np.concatenate([color, alpha], 2).astype(kind)
    found = only(
        by_tifffile(
            pixels,
            photometric="rgb" if channels == 4 else "minisblack",
            planarconfig="contig",
            extrasamples=["assocalpha"],
        )
    )
    np.testing.assert_array_equal(found[..., -1:], alpha)
    with np.errstate(invalid="ignore"):
        expected = np.where(alpha > 0, color * most / alpha, 0)
    np.testing.assert_allclose(found[..., :-1], expected, atol=0.5)


def test_channels_beside_colour_and_alpha_are_left_out_with_a_word():
    pixels = sampled(np.uint16, 6, 7, 6)
    content = by_tifffile(
        pixels, photometric="rgb", planarconfig="contig", extrasamples=["unspecified", "unassalpha", "unspecified"]
    )
    (photo,), notices = read(content)
    np.testing.assert_array_equal(photo.pixels, pixels[..., [0, 1, 2, 4]])
    assert notices == ["2 channels beside its colours are left out"]


@pytest.mark.parametrize("extra", [(), (0,)])
def test_a_fourth_sample_is_alpha_unless_it_is_said_not_to_be(extra):
    pixels = sampled(np.uint8, 6, 7, 4)
    content = by_hand(6, 7, [pixels.tobytes()], (8,) * 4, 2, more=[(338, 3, extra)] if extra else [])
    (photo,), _ = read(content)
    np.testing.assert_array_equal(photo.pixels, pixels[..., :3] if extra else pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pages_are_turned_as_they_say(orientation):
    upright = sampled(np.uint16, 12, 20, 3)
    stored = as_stored(upright, orientation)
    content = by_tifffile(
        stored,
        photometric="rgb",
        resolution=(300, 100),
        resolutionunit="inch",
        extratags=[(274, "H", 1, orientation, False)],
    )
    (photo,), _ = read(content)
    np.testing.assert_array_equal(photo.pixels, upright)
    assert photo.resolution == ((300, 100) if orientation < 5 else (100, 300))


def floating(*values):
    return np.array(values * 10, np.float32).reshape(10, -1)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (lambda: by_tifffile(floating(0.5, float("nan"))), "32-bit floating point"),
        (lambda: by_tifffile(floating(0.5, 1.5).astype(np.float16)), "16-bit floating point"),
        (lambda: by_tifffile(np.zeros((4, 5), np.int16)), "with a sign"),
        (lambda: by_tifffile(np.zeros((4, 5), np.uint32)), "32 bits"),
        (lambda: by_tifffile(np.zeros((4, 5), np.complex64)), "sample format 6"),
        (lambda: by_pillow(Image.fromarray(drawn(4, 5)).convert("LAB")), "CIELAB"),
        (lambda: by_tifffile(drawn(4, 5), photometric="ycbcr"), "YCbCr that is not JPEG"),
        (lambda: by_tifffile(drawn(16, 16), photometric="rgb", compression="jpeg2000"), "JPEG2000"),
        (lambda: by_tifffile(drawn(16, 16), photometric="rgb", compression="webp"), "WEBP"),
        (lambda: by_tifffile(np.zeros((4, 5, 4), np.uint16), photometric="separated"), "SEPARATED of 16 bits"),
        (lambda: by_hand(4, 5, [bytes(100)], (8,) * 5, 5), "5 samples"),
        (lambda: by_hand(4, 5, [bytes(80)], (8,) * 4, 5, more=[(332, 3, [2])]), "inks other than CMYK"),
        (lambda: by_tifffile(np.zeros((4, 5, 5), np.uint8), photometric="minisblack", planarconfig=1), "5 samples"),
        (lambda: by_hand(4, 5, [bytes(40)], (5, 6, 5), 2), "of (5, 6, 5) bits"),
        (lambda: by_hand(4, 5, [bytes(20)], photometric=32803), "CFA"),
        (lambda: by_hand(4, 5, [bytes(20)], more=[(32997, 4, [2])]), "a volume"),
    ],
)
def test_what_would_be_read_wrongly_is_refused(content, kind, capfd):
    with pytest.raises(RunError, match=r"^a\.tif: this kind of picture .* is not read; convert it to grey") as error:
        read(content())
    assert kind in str(error.value)
    assert capfd.readouterr() == ("", "")


def jpeg(rows, cols):
    written = io.BytesIO()
    Image.new("L", (cols, rows)).save(written, "JPEG")
    return written.getvalue()


HALF = zlib.compress(np.random.default_rng(0).bytes(10_000))


@pytest.mark.parametrize(
    "content",
    [
        by_hand(10, 10, [bytes(50)]),  # fewer bytes than pixels
        by_hand(10, 10, [bytes(50)], rows_per_strip=5),  # a strip is missing
        by_hand(10, 10, [bytes(50), b""], rows_per_strip=5),  # a strip is empty
        by_hand(10, 10, [bytes(100)], more=[(279, 4, [4_000_000_000])]),
        by_hand(10, 10, [bytes(100)], more=[(273, 4, [4_000_000_000])]),
        by_hand(10, 10, [bytes(100)], more=[(273, 4, [0])]),
        by_hand(0, 10, [bytes(100)]),
        by_hand(100, 100, [HALF[: len(HALF) // 2]], compression=8),
        by_hand(100, 100, [HALF[:500] + bytes([HALF[500] ^ 1]) + HALF[501:]], compression=8),
        by_hand(10, 10, [zlib.compress(bytes(50))], compression=8),
        by_hand(100, 100, [imagecodecs.lzw_encode(np.random.default_rng(0).bytes(10_000))[:500]], compression=5),
        by_hand(100, 100, [lzma.compress(np.random.default_rng(0).bytes(10_000))[:500]], compression=34925),
        by_hand(10, 10, [jpeg(1000, 1000)], compression=7),  # which holds a larger one
        by_hand(10, 10, [jpeg(10, 10)[:-2]], compression=7),
        by_hand(10, 10, [b"nothing"], compression=7),
        by_hand(10, 10, [bytes(100)], more=[(322, 4, [100_000]), (323, 4, [100_000])]),  # tiles
        by_hand(10, 10, [bytes(100)], photometric=3),  # no palette
        by_hand(10, 10, [bytes(range(100))], photometric=3, more=[(320, 3, [0] * 30)]),
        by_hand(10, 10, [bytes(100)], more=[(256, 4, [10, 10])]),
        by_hand(10, 10, [bytes(100)], more=[(254, 4, [1])]),  # a reduced copy of nothing
        by_hand(10, 10, [bytes(100)], more=[(40_000 + number, 4, [1]) for number in range(600)]),
        b"II*\0\x08\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\0\0\0\0",
        b"MM\0+\0\x08\0\0",
    ],
)
def test_damage_is_an_error(content, capfd):
    with pytest.raises(RunError, match=r"^a\.tif: cannot be read as a picture \([^\n]*\); replace or remove it\.$"):
        read(content)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compression", [5, 8, 34925, 50000, 32773])
def test_what_unpacks_to_far_more_than_the_picture_is_not_unpacked(compression):
    pack = {
        5: imagecodecs.lzw_encode,
        8: zlib.compress,
        34925: lzma.compress,
        50000: imagecodecs.zstd_encode,
        32773: lambda zeros: b"\x81\0" * (len(zeros) // 128),
    }[compression]
    Path("a.tif").write_bytes(by_hand(10, 10, [pack(bytes(5_000_000))], compression=compression))
    try:
        (photo,) = read_photo("a.tif", 10**6)[0]
        assert photo.pixels.shape == (10, 10)
    except RunError:
        pass


def several(count, last=0):
    """A file with so many pages of the same pixels, the last of which leads on to page `last`."""
    one = by_hand(10, 10, [bytes(100)])
    place = struct.unpack_from("<I", one, 4)[0]
    page = one[place:-4]
    places = [len(one) + number * (len(page) + 4) for number in range(count)]
    parts = [page + struct.pack("<I", follower) for follower in [*places[1:], places[last] if last else 0]]
    return one[:4] + struct.pack("<I", places[0]) + one[8:] + b"".join(parts)


def test_pages_that_go_round_in_a_circle_are_an_error():
    assert len(read(several(5))[0]) == 5
    with pytest.raises(RunError, match="circle"):
        read(several(5, last=2))


def test_more_pages_than_any_picture_has_are_an_error():
    with pytest.raises(RunError, match=f"more than {MOST_PAGES} pages"):
        read(several(MOST_PAGES + 1))


def test_many_pages_of_the_same_bytes_are_an_error():
    one = by_hand(100, 100, [bytes(10_000)])
    place = struct.unpack_from("<I", one, 4)[0]
    page = one[place:-4]
    pages = [page + struct.pack("<I", len(one) + number * (len(page) + 4)) for number in range(1, 30)]
    content = one[:4] + struct.pack("<I", len(one)) + one[8:] + b"".join(pages) + page + bytes(4)
    with pytest.raises(RunError, match="its parts have"):
        read(content)


def test_each_page_is_as_it_is_and_decoded_when_it_is_taken(monkeypatch):
    pages = [sampled(np.uint8, 6, 7, 3), sampled(np.uint16, 9, 4), sampled(np.uint8, 3, 5, 4)]
    with tifffile.TiffWriter("a.tif") as writer:
        for page in pages:
            kind = "rgb" if page.ndim == 3 else "minisblack"
            writer.write(page, photometric=kind, metadata=None, extrasamples=[2] if page.shape[2:] == (4,) else None)
    decoded = []
    decode = tifffile.TiffPage.asarray
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda page, **how: decoded.append(1) or decode(page, **how))
    found, notices = read_photo("a.tif", 10**6)
    assert len(found) == 3
    for number, (photo, page) in enumerate(zip(found, pages, strict=True), 1):
        np.testing.assert_array_equal(photo.pixels, page)
        assert len(decoded) == number
    assert notices == []


def test_reduced_copies_and_masks_are_left_out_with_a_word():
    with tifffile.TiffWriter("a.tif") as writer:
        for size, kind in ((40, 0), (20, 1), (40, 4), (30, 2)):
            page = np.zeros((size, size), np.bool_ if kind == 4 else np.uint8)
            writer.write(page, photometric=1, metadata=None, subfiletype=kind)
    pages, notices = read_photo("a.tif", 10**6)
    assert [photo.pixels.shape for photo in pages] == [(40, 40), (30, 30)]
    assert notices == ["2 of its 4 pages are reduced copies or masks, and left out"]


def test_every_page_is_checked_for_its_size_before_any_is_decoded():
    with tifffile.TiffWriter("a.tif") as writer:
        for size in (10, 200):
            writer.write(np.zeros((size, size), np.uint8), photometric=1, metadata=None)
    with pytest.raises(RunError, match=r"a\.tif: says it has 200 x 200 pixels.*--max_megapixels"):
        read_photo("a.tif", 39_999)
    assert len(read_photo("a.tif", 40_000)[0]) == 2


def exif_block():
    exif = Image.Exif()
    exif[0x010E], exif[0x010F], exif[0x8298] = "Ein Bild", "Mäker", "nobody"
    exif.get_ifd(0x8769).update({0x9003: "2020:02:02 02:02:02", 0xA002: 7, 0xA003: 6, 0x829A: 0.004})
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 15.5)})
    return exif.tobytes()[6:]


@pytest.mark.parametrize("large", [False, True])
def test_what_belongs_to_a_page_is_written_as_others_read_it(large, monkeypatch):
    if large:  # as it is when there are more than 4 GB
        monkeypatch.setattr("srcnn_tf.images.tiff.MOST_CLASSIC", 0)
    photo = Photo(sampled(np.uint16, 30, 40, 3), SRGB, exif_block(), (300.0, 150.0))
    write_photo([photo, photo], "b.tif")
    assert Path("b.tif").read_bytes()[:4] == (b"II+\0" if large else b"II*\0")
    with Image.open("b.tif") as picture:
        for page in range(2):
            picture.seek(page)
            assert picture.info["icc_profile"] == SRGB
            assert picture.info["dpi"] == (300, 150)
            exif = picture.getexif()
            assert (exif[0x010E], exif[0x8298]) == ("Ein Bild", "nobody")
            assert exif.get_ifd(0x8769) == {0x9003: "2020:02:02 02:02:02", 0xA002: 40, 0xA003: 30, 0x829A: 0.004}
            assert exif.get_ifd(0x8825) == {1: "N", 2: (52, 30, 15.5)}
    with tifffile.TiffFile("b.tif") as file:
        assert [page.compression for page in file.pages] == [8, 8]
        for page in file.pages:
            np.testing.assert_array_equal(page.asarray(), photo.pixels)


def test_what_belongs_to_a_page_is_read():
    exif = Image.Exif()
    exif.load(exif_block())
    options = {"exif": exif, "icc_profile": SRGB, "dpi": (300, 150)}
    (photo,), notices = read(by_pillow(Image.fromarray(drawn(6, 7)), **options))
    found = Image.Exif()
    found.load(photo.exif)
    assert (photo.profile, photo.resolution, notices) == (SRGB, (300, 150), [])
    assert (found[0x010E], found[0x8298]) == ("Ein Bild", "nobody")
    assert found.get_ifd(0x8769)[0x9003] == "2020:02:02 02:02:02"
    assert found.get_ifd(0x8825) == {1: "N", 2: (52, 30, 15.5)}


def test_a_description_of_sizes_is_not_kept():
    (photo,), _ = read(by_tifffile(sampled(np.uint8, 6, 7), description="ImageJ=1.53\nimages=1\n"))
    assert photo.exif is None or b"ImageJ" not in photo.exif


def test_damage_beside_the_pixels_costs_no_more_than_what_is_damaged(capfd):
    pixels = sampled(np.uint8, 10, 10)
    more = [
        (296, 4, [9]),
        (282, 4, [0]),
        (283, 3, [1, 2]),
        (34665, 4, [4_000_000]),
        (34675, 4, [1, 2, 3]),
        (274, 3, [77]),
    ]
    (photo,), _ = read(by_hand(10, 10, [pixels.tobytes()], more=more))
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert (photo.profile, photo.resolution) == (None, None)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 1, 2), (1, 1, 3), (1, 1, 4), (3, 3, 3), (1, 500), (500, 1, 4), (4, 4, 2)]
)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_shape_is_written_as_it_is(shape, kind):
    pixels = sampled(kind, *shape)
    write_photo([Photo(pixels)], "b.tif")
    np.testing.assert_array_equal(next(iter(read_photo("b.tif", 10**6)[0])).pixels, pixels)
    stored = tifffile.imread("b.tif")
    np.testing.assert_array_equal(stored.ravel(), pixels.ravel())


def test_pages_are_written_one_at_a_time():
    sizes = []

    def made():
        for number in range(3):
            sizes.append(sum(file.stat().st_size for file in Path().iterdir()))
            yield Photo(sampled(np.uint8, 100, 100 + number))

    write_photo(made(), "b.tif", count=3)
    assert sizes[0] == 0
    assert sizes[2] > 10_000
    assert len(read_photo("b.tif", 10**6)[0]) == 3
    assert os.listdir() == ["b.tif"]
