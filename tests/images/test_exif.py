import struct

import pytest
from PIL import Image

from srcnn_tf.images.exif import Block, sensible


def pillow_block(endian="<", **main):
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F] = "A maker"
    for tag, value in main.items():
        exif[int(tag[1:], 16)] = value
    exif.get_ifd(0x8769).update({0x9003: "2020:02:02 02:02:02", 0xA002: 50, 0xA003: 40})
    return exif.tobytes()


def by_pillow(block):
    exif = Image.Exif()
    exif.load(bytes(block))
    return dict(exif) | exif.get_ifd(0x8769)


@pytest.mark.parametrize("endian", ["<", ">"])
@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0", b"Exif\0\0Exif\0\0"])
def test_a_block_is_read_as_pillow_wrote_it(endian, prefix):
    block = Block(prefix + pillow_block(endian, x0112=6, x011A=300.0, x011B=150.0, x0128=2)[6:])
    assert (block.orientation, block.resolution) == (6, (300, 150))


@pytest.mark.parametrize("endian", ["<", ">"])
def test_only_what_is_set_changes(endian):
    stored = pillow_block(endian, x0112=6)[6:]
    block = Block(stored)
    block.set_upright()
    block.set_size(120, 70_000)
    assert by_pillow(block) == by_pillow(stored) | {0x0112: 1, 0xA002: 70_000, 0xA003: 120}
    assert len(bytes(block)) == len(stored)
    assert sum(a != b for a, b in zip(bytes(block), stored, strict=True)) < 10


def test_nothing_is_added():
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    block = Block(exif.tobytes())
    block.set_upright()
    block.set_size(1, 2)
    assert bytes(block) == exif.tobytes()[6:]
    assert (block.orientation, block.resolution) == (1, None)


def test_a_thumbnail_which_is_not_turned_is_let_go_of():
    main = struct.pack("<HHHII", 1, 0x0112, 3, 1, 6)
    block = Block(b"II*\0\x08\0\0\0" + main + struct.pack("<I", 26) + struct.pack("<HI", 0, 0))
    block.set_upright()
    assert bytes(block)[22:26] == bytes(4)
    assert block.orientation == 1


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(value):
    assert Block(pillow_block(x0112=value)).orientation == 1


@pytest.mark.parametrize("unit", [1, 7])
def test_a_resolution_without_a_length_is_none(unit):
    assert Block(pillow_block(x011A=300.0, x011B=300.0, x0128=unit)).resolution is None


def test_a_resolution_by_the_centimetre_is_given_by_the_inch():
    assert Block(pillow_block(x011A=100.0, x011B=100.0, x0128=3)).resolution == (254, 254)


def test_every_beginning_of_a_block_is_a_block_or_an_error():
    stored = pillow_block(x0112=6, x011A=300.0, x011B=300.0)
    for length in range(len(stored)):
        try:
            block = Block(stored[:length])
        except ValueError:
            continue
        block.set_upright()
        block.set_size(1, 1)
        assert block.resolution in (None, (300, 300))


@pytest.mark.parametrize("damaged", [b"", b"nothing", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
def test_damaged_blocks_are_refused(damaged):
    with pytest.raises(ValueError, match="EXIF"):
        Block(damaged)


@pytest.mark.parametrize("resolution", [(0, 0), (float("nan"), 300), (300, float("inf")), (-1, 300)])
def test_a_resolution_that_no_picture_has_is_none(resolution):
    assert sensible(resolution) is None
