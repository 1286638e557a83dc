import numpy as np
import pytest
from conftest import synthetic_image
from PIL import Image

from benchmarks import compression


@pytest.mark.parametrize(("name", "says"), [("jpg", 60), ("webp", 85), ("avif", None)])
def test_a_file_is_measured_with_each_of_the_weights(name, says, tmp_path):
    Image.fromarray(synthetic_image(90, 120)).save("a.png")
    found, bits, *gains = compression.measure("a.png", name, 60, 3, "9-1-5")
    assert np.isnan(found) if says is None else found == pytest.approx(says, abs=2)
    assert 0.5 < bits < 30
    assert len(gains) == len(compression.DEGRADATIONS)
    assert np.all(np.abs(gains) < 10)
    assert len(set(gains)) == len(gains)
