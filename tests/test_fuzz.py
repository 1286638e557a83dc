"""A thousand damaged pictures, by a seeded generator: each is named or enlarged, and nothing else happens."""

import io
from pathlib import Path

import numpy as np
import pytest
from conftest import drawn
from PIL import Image

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.inference import upscale

COUNT = 1000


def whole_files():
    """Small pictures of many kinds, as bytes by ending."""
    image = Image.fromarray(drawn(14, 11))
    alpha = Image.fromarray(np.dstack([drawn(14, 11), drawn(14, 11, seed=1)[..., 0]]))
    grey16 = Image.fromarray(drawn(14, 11)[..., 0].astype(np.uint16) * 257)
    kinds = [
        *((picture, "png") for picture in (image, image.convert("L"), image.convert("P"), image.convert("1"), alpha)),
        *((grey16, ending) for ending in ("png", "tif")),
        *((picture, "jpg") for picture in (image, image.convert("L"), image.convert("CMYK"))),
        *((picture, "tif") for picture in (image, image.convert("L"), image.convert("CMYK"), alpha)),
        *((picture, ending) for picture in (image, image.convert("L")) for ending in ("bmp", "webp")),
    ]
    files = []
    for picture, ending in kinds:
        buffer = io.BytesIO()
        options = {"compression": "tiff_lzw"} if ending == "tif" else {}
        picture.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending), **options)
        files.append((buffer.getvalue(), ending))
    return files


def mutated(content, rng):
    """A file with flipped bits, a piece lost, doubled, or overwritten, or its end missing."""
    data = bytearray(content)
    kind = rng.integers(6)
    begin, end = sorted(rng.integers(0, len(data), 2))
    if kind == 0:
        return bytes(data[: rng.integers(0, len(data))])
    if kind == 1:
        return bytes(data[:begin] + data[end:])
    if kind == 2:
        return bytes(data[:end] + data[begin:])
    if kind == 3:  # the header, where sizes and offsets are declared
        for place in rng.integers(0, min(64, len(data)), rng.integers(1, 5)):
            data[place] = rng.integers(256)
        return bytes(data)
    if kind == 4:
        data[begin : begin + 8] = rng.bytes(8)
        return bytes(data)
    for place in rng.integers(0, len(data), rng.integers(1, 10)):
        data[place] ^= 1 << rng.integers(8)
    return bytes(data)


@pytest.mark.parametrize("part", range(4))
def test_mutated_pictures_are_enlarged_or_named(part, capfd):
    rng = np.random.default_rng(part)
    files = whole_files()
    Path("in").mkdir()
    for number in range(COUNT // 4):
        content, ending = files[number % len(files)]
        Path(f"in/{number:03d}.{ending}").write_bytes(mutated(content, rng))
    with pytest.raises(RunError, match=f"of {COUNT // 4} images could not be upscaled"):
        upscale.upscale_files(Config(input="in", output="out", scale=2, max_megapixels=4))
    captured = capfd.readouterr()
    named = {line.split()[1].rstrip(":") for line in captured.err.splitlines() if line.startswith("Problem: ")}
    made = {path.name for path in Path("out").iterdir()}
    assert "Traceback" not in captured.err + captured.out
    # Each file has one fate: it is named, or there is a whole picture of it.
    for path in Path("in").iterdir():
        target = f"{path.stem}_x2{path.suffix}"
        assert (str(path) in named) != (target in made), path
        if target in made:
            with Image.open(Path("out", target)) as picture:
                picture.load()
    assert len(named) + len(made) == COUNT // 4
    assert min(len(named), len(made)) > 20
