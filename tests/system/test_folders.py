from pathlib import Path

import pytest

from srcnn_tf.system.folders import find_files


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (None, ["a.png", "made/b.png", "made/more/c.png"]),
        ("in/made", ["a.png"]),
        ("in/made/more", ["a.png", "made/b.png"]),
        ("in", ["a.png", "made/b.png", "made/more/c.png"]),  # in which both are
        ("other", ["a.png", "made/b.png", "made/more/c.png"]),
    ],
)
def test_a_folder_of_results_below_is_left_out_and_counted(results, expected):
    for name in ("a.png", "made/b.png", "made/more/c.png", "made/d.txt"):
        Path("in", name).parent.mkdir(parents=True, exist_ok=True)
        Path("in", name).touch()
    found = find_files("in", lambda path: path.suffix == ".png", results)
    assert [path.relative_to("in").as_posix() for path in found.files] == expected
    assert (found.results, found.others) == (3 - len(expected), {".txt": 1})
