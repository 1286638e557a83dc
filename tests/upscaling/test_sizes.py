import pytest

from srcnn_tf.errors import RunError
from srcnn_tf.upscaling.sizes import factors_of_passes, scaled_size


@pytest.mark.parametrize(
    ("factor", "passes"),
    [
        *((1, ()), (1.01, (2,)), (2, (2,)), (2.5, (3,)), (4, (4,)), (5, (3, 2)), (7, (4, 2)), (8.5, (3, 3))),
        *((10, (4, 3)), (13, (4, 4)), (16, (4, 4))),
    ],
)
def test_passes_are_the_smallest_product_that_suffices(factor, passes):
    assert factors_of_passes(factor) == passes


@pytest.mark.parametrize(
    ("flags", "size"),
    [
        ({"scale": 2.5}, (25, 53)),  # 52.5
        ({"scale": 1.1}, (11, 23)),
        ({"width": 42}, (20, 42)),
        ({"height": 33}, (33, 69)),  # 69.3
        ({"width": 42, "height": 30}, (20, 42)),
        ({"width": 100, "height": 15}, (15, 32)),  # 31.5
        ({"width": 21}, (10, 21)),
    ],
)
def test_sizes_are_exact_and_keep_the_aspect_ratio(flags, size):
    assert scaled_size(10, 21, **({"scale": 3} | flags)) == size


@pytest.mark.parametrize("flags", [{"width": 20}, {"width": 100, "height": 9}, {"height": 161}])
def test_smaller_and_much_larger_sizes_are_refused(flags):
    with pytest.raises(RunError, match=r"21 x 10 pixels cannot be upscaled to \d+ x \d+: expected a size"):
        scaled_size(10, 21, **({"scale": 3} | flags))
