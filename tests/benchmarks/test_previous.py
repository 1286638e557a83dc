from benchmarks.previous import summarize


def test_ratios_of_rounds_above_one_mean_faster():
    rounds = [
        (
            {"training, patches/s": 100.0, "testing, seconds": 2.0},
            {"training, patches/s": 110.0, "testing, seconds": 4.0},
        ),
        (
            {"training, patches/s": 50.0, "testing, seconds": 3.0},
            {"training, patches/s": 60.0, "testing, seconds": 3.0},
        ),
    ]
    assert summarize(rounds) == [
        "| training, patches/s | 75 | 85 | 1.15 | 1.10-1.20 |",
        "| testing, seconds | 2.5 | 3.5 | 0.75 | 0.50-1.00 |",
    ]
