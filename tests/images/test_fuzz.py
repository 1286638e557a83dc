"""A thousand damaged images, by a seeded generator: each is upscaled or reported, and nothing else happens."""

from pathlib import Path

import numpy as np
import pytest
from conftest import synthetic_image
from image_files import by_tifffile, encoded, exif, write
from PIL import Image

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.decode import AVIF
from srcnn_tf.upscaling import image_files

COUNT = 1000


def whole_files():
    """Small images of many kinds, as bytes with their extension."""
    alpha = Image.fromarray(np.dstack([synthetic_image(14, 11), synthetic_image(14, 11, seed=1)[..., 0]]))
    kinds = {
        "png": [("PNG", mode, {"exif": exif({0x0112: 6})}) for mode in ("RGB", "L", "P", "1", "RGBA")],
        "jpg": [("JPEG", mode, {"exif": exif({0x0112: 6})}) for mode in ("RGB", "L", "CMYK")],
        "tif": [("TIFF", mode, {"compression": "tiff_lzw"}) for mode in ("RGB", "L", "CMYK", "RGBA", "1")],
        "bmp": [("BMP", mode, {}) for mode in ("RGB", "L")],
        "webp": [("WEBP", mode, {}) for mode in ("RGB", "L", "RGBA")],
        "gif": [("GIF", "P", {})],
        "avif": [("AVIF", "RGB", {})] * AVIF,
    }
    files = [
        (encoded(alpha.convert(mode), format_name, **options), extension)
        for extension, formats in kinds.items()
        for format_name, mode, options in formats
    ]
    for pixels in (synthetic_image(14, 11), synthetic_image(14, 11)[..., 0]):
        write("deep.png", pixels * np.uint16(257))
        files.append((Path("deep.png").read_bytes(), "png"))
        files.append((by_tifffile(pixels * np.uint16(257), compression="zlib", tile=(16, 16)), "tif"))
    return files


def mutated(content, rng):
    """A file with flipped bits, a piece lost, doubled, or overwritten, or its end missing."""
    data = bytearray(content)
    kind = rng.integers(6)
    begin, end = sorted(rng.integers(0, len(data), 2))
    if kind == 0:
        del data[rng.integers(0, len(data)) :]
    elif kind == 1:
        del data[begin:end]
    elif kind == 2:
        data[end:] = data[begin:]
    elif kind == 3:  # the header, where sizes and offsets are declared
        for index in rng.integers(0, min(64, len(data)), rng.integers(1, 5)):
            data[index] = rng.integers(256)
    elif kind == 4:
        data[begin : begin + 8] = rng.bytes(8)
    else:
        for index in rng.integers(0, len(data), rng.integers(1, 10)):
            data[index] ^= 1 << rng.integers(8)
    return bytes(data)


@pytest.mark.parametrize("part", range(4))
def test_damaged_images_are_upscaled_or_reported(part, capfd):
    rng = np.random.default_rng(part)
    files = whole_files()
    Path("in").mkdir()
    for number in range(COUNT // 4):
        content, extension = files[number % len(files)]
        Path(f"in/{number:03d}.{extension}").write_bytes(mutated(content, rng))
    with pytest.raises(RunError, match=f"of {COUNT // 4} files could not be upscaled"):
        image_files.upscale_files(Config(input="in", output="out", scale=2, max_megapixels=4))
    captured = capfd.readouterr()
    reported = {line.split()[1].rstrip(":") for line in captured.err.splitlines() if line.startswith("Problem: ")}
    made = {path.name for path in Path("out").glob("[!.]*")}
    assert "Traceback" not in captured.err + captured.out
    # Each file is either reported, or there is a whole image of it.
    for path in Path("in").iterdir():
        extension = ".png" if path.suffix == ".gif" else path.suffix
        target = f"{path.stem}_x2{extension}"
        assert (str(path) in reported) != (target in made), path
        if target in made:
            with Image.open(Path("out", target)) as image:
                image.load()
    assert len(reported) + len(made) == COUNT // 4
    assert min(len(reported), len(made)) > 20
