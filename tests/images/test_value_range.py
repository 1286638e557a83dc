import numpy as np
import pytest
from conftest import synthetic_image

from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.images.value_range import DTYPES, data_range, dtype_range, finite_values, fixed_range, range_of


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaling_and_back_keeps_the_values(dtype):
    info = np.finfo(dtype) if np.dtype(dtype).kind == "f" else np.iinfo(dtype)
    span = min(float(info.max), 1e9) / 2
    pixels = (np.linspace(0.1, 1, 30).reshape(5, 6) * span - (span / 3 if info.min < 0 else 0)).astype(dtype)
    values = range_of([pixels])
    scaled = values.scale(pixels)
    assert (scaled.dtype, scaled.min(), scaled.max()) == (np.float32, 0, 1)
    restored = values.unscale(scaled, dtype)
    assert restored.dtype == dtype
    np.testing.assert_allclose(
        restored.astype(float), pixels.astype(float), atol=span * 2e-7, rtol=2e-3 * (dtype == "float16")
    )


def test_the_range_is_that_of_visible_finite_colours():
    grey = np.array([[1, 5, np.nan], [np.inf, 2, 9]], np.float32)
    assert range_of([finite_values(grey)]).limits == (1, 9)
    assert range_of([finite_values(grey, np.array([[True, True, True], [True, True, False]]))]).limits == (1, 5)
    assert range_of([finite_values(np.dstack([grey, np.array([[0, 1, 1], [1, 1, 1]])]))]).limits == (2, 9)
    assert range_of([finite_values(np.full((2, 2), np.nan))]) is None
    parts = np.split(synthetic_image(9, 9).astype(np.int16), 3)
    assert range_of(parts).limits == (np.min(parts), np.max(parts))


@pytest.mark.parametrize("parts", [1, 4])
def test_single_values_far_from_all_others_do_not_count_unless_that_is_asked_for(parts):
    values = np.arange(2000.0).reshape(40, 50)
    values[3, 4], values[30, 5] = 60_000, -20_000
    bands = np.split(values, parts)
    found = range_of(bands)
    assert -1000 <= found.low <= 0 < 1999 <= found.high <= 3000
    assert found.limits == (-20_000, 60_000)
    assert str(found).endswith("(nearly all values, without single ones of -20000 to 60000)")
    assert range_of(bands, "data") == data_range(-20_000, 60_000)
    values[3, 4], values[30, 5] = 4000, -1000  # not far: the others fill two fifths
    assert range_of(bands) == data_range(-1000, 4000)
    assert "missing data" not in str(range_of([np.repeat([0, 65535], 1000)]))  # a mask
    values[:8], values[30, 5] = -90_000, 500
    assert str(range_of(bands)).endswith(
        "(smallest and largest value, and none between -90000 and 400: is one a value for missing data? Declare it)"
    )
    stars = np.zeros(2000)
    stars[:2] = 5, 9  # all that there is
    assert range_of([stars]) == data_range(0, 9)


def test_the_setting_decides_and_8_bits_have_all_of_their_range():
    assert (fixed_range(None, np.uint8).high, fixed_range(None, np.uint16)) == (255, None)
    assert (fixed_range("data", np.uint8), fixed_range("dtype", np.int16).low) == (None, -32768)
    assert (dtype_range(np.float32).low, dtype_range(np.float32).high) == (0, 1)
    given = fixed_range("-5,7.5", np.uint16)
    assert (given.low, given.high, given.limits, str(given)) == (-5, 7.5, (0, 65535), "-5 to 7.5 (--value_range)")
    assert fixed_range((1, 2), np.float32).low == 1
    for setting in ("5,1", "1", "1,2,3", "full", "nan,1", "0,inf", (1, 1)):
        with pytest.raises(UsageError, match="expected two numbers, LOW,HIGH"):
            fixed_range(setting, np.uint16)
    with pytest.raises(RunError, match="too far apart"):
        data_range(-1.7e308, 1.7e308)
