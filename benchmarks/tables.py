"""Markdown of what was measured beside what is published."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.published import BICUBIC, OTHER, PAPER, PUBLISHED, SETS, Method, Place, Score

HERE = "here"  # the source of what was measured just now
DEGRADATIONS = {
    "matlab": "`--degradation=matlab`, the paper's: MATLAB's bicubic, studio-range luma",
    "scipy": "`--degradation=scipy`, the reference's: SciPy's zoom, which loses more, full-range luma",
}


def summary(degradation: str, ours: Sequence[Method]) -> str:
    """The averages of every set and scale that was measured, a row a method: scores, then seconds."""
    methods, places = _beside(degradation, ours), _places(ours)
    names = [_place(place) for place in places]
    found = [(method, [method.averages.get(place) for place in places]) for method in methods]
    averages = [[m.name, m.trained_on, m.source, *map(_score, scores)] for m, scores in found]
    seconds = [[m.name, m.machine, *map(_seconds, scores)] for m, scores in found if any(map(_seconds, scores))]
    return "\n\n".join(
        [
            f"{DEGRADATIONS[degradation]}. PSNR in dB (SSIM):",
            markdown(["", "trained on", "figures from", *names], averages),
            "Seconds a picture, in the network:",
            markdown(["", "on", *names], seconds),
        ]
    )


def by_picture(degradation: str, ours: Sequence[Method]) -> str:
    """A table for every set and scale that was measured, a row a picture."""
    tables = []
    for place in _places(ours):
        methods = [method for method in _beside(degradation, ours) if place in method.pictures]
        timed = [method for method in methods if method.source == HERE and method.network != BICUBIC]
        header = ["", *(f"{m.name}, {m.source}" if m.network == BICUBIC else m.name for m in methods)]
        header += [f"seconds, {method.network}" for method in timed]
        rows = [
            [name, *(_score(method.pictures[place].get(name)) for method in methods)]
            + [_seconds(method.pictures[place][name]) for method in timed]
            for name in timed[0].pictures[place]
        ]
        rows.append(
            ["average", *(_score(method.averages.get(place)) for method in methods)]
            + [_seconds(method.averages[place]) for method in timed]
        )
        tables.append(f"### {_place(place)}, {degradation}\n\n{markdown(header, rows)}")
    return "\n\n".join(tables)


def self_check(ours: Sequence[Method]) -> tuple[str, bool]:
    """Whether bicubic scores what the paper prints, which it does where the whole protocol is the paper's.

    Returns:
        That in words; and whether nothing is wrong.
    """
    (measured,) = (method.averages for method in ours if method.network == BICUBIC)
    (printed,) = (m.averages for m in PUBLISHED["matlab"] if m.network == BICUBIC and m.source == PAPER)
    both = [place for place in _places(ours) if place in printed]
    wrong = [
        f"{_place(place)} is {_score(measured[place])}, not {_score(printed[place])}"
        for place in both
        if _score(measured[place]) != _score(printed[place])
    ]
    if wrong:
        return (
            f"Self-check: FAILED, bicubic is not the paper's, and so nothing is comparable. {'; '.join(wrong)}.",
            False,
        )
    if not both:
        return "Self-check: none, as the paper has no figures for these sets.", True
    places = ", ".join(map(_place, both))
    return f"Self-check: bicubic equals the paper's to the last decimal printed ({places}).", True


def _beside(degradation: str, ours: Sequence[Method]) -> list[Method]:
    """Ours, each after what is published of its network; what has nothing to do with what was measured is left out."""
    places = _places(ours)
    groups = dict.fromkeys([BICUBIC, OTHER, *(method.network for method in ours)])
    every = [method for method in (*PUBLISHED[degradation], *ours) if set(places) & method.averages.keys()]
    return [method for group in groups for method in every if method.network == group]


def _places(methods: Iterable[Method]) -> list[Place]:
    """The sets and scales of some methods, in the order of papers."""
    return sorted({place for method in methods for place in method.averages}, key=lambda p: (list(SETS).index(p[0]), p))


def _place(place: Place) -> str:
    return f"{place[0]} x{place[1]}"


def _score(score: Score | None) -> str:
    if score is None:
        return ""
    return f"{score.psnr:.2f}" + ("" if score.ssim is None else f" ({score.ssim:.4f})")


def _seconds(score: Score | None) -> str:
    return "" if score is None or score.seconds is None else f"{score.seconds:.2f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that reads well as text too."""
    widths = [max(3, *map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )
