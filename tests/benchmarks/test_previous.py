from benchmarks.previous import summarize


def test_ratios_of_rounds_above_one_mean_faster():
    names = ("training, patches/s", "testing, seconds")
    values = [((100.0, 2.0), (110.0, 4.0)), ((50.0, 3.0), (60.0, 3.0))]  # before and after, of two rounds
    rounds = [tuple(dict(zip(names, figures, strict=True)) for figures in pair) for pair in values]
    assert summarize(rounds) == [
        "| training, patches/s | 75 | 85 | 1.15 | 1.10-1.20 |",
        "| testing, seconds | 2.5 | 3.5 | 0.75 | 0.50-1.00 |",
    ]
