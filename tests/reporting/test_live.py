"""The live display: fits its terminal, and is plain lines where there is none."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from archsearch.reporting.live import LINE_SECONDS, display, duration, line, rate, watch
from archsearch.search.records import Status
from tests.reporting.conftest import trial

FRONT = tuple(trial(n, 4 + n, 0.4 / (n + 1), words="a gate [with brackets] and words that go on and on " * 4) for n in range(20))
BUSY = Status("training 4 SAEs", 8, 32, 0.25, 123_456.0, 200.0, FRONT)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (20, 4), (200, 60)])
def test_the_display_fits(width: int, height: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width, height=height).print(display(BUSY, width, height))
    lines = out.getvalue().splitlines()
    assert len(lines) <= height
    assert all(len(text) <= width for text in lines)


def test_numbers_of_the_front_are_never_cut() -> None:
    out = io.StringIO()
    Console(file=out, width=80, height=24).print(display(BUSY, 80, 24))
    text = out.getvalue()
    assert "8 of 20" in text
    assert "   4.0  0.4000  a gate [with" in text  # the sparsest member
    assert "  23.0  0.0200  a gate [with" in text  # and the densest


def test_a_line_says_where_things_stand() -> None:
    assert line(BUSY) == "training 4 SAEs, 8/32 trials, step 25%, 123k tokens/s, 3 min 20 s left, front: 20 members"
    assert line(Status("harvesting", 0, 0, 0.5)) == "harvesting, step 50%"


def test_no_terminal_gets_plain_lines_now_and_then() -> None:
    out, now = io.StringIO(), [0.0]
    with watch(Console(file=out), clock=lambda: now[0]) as observe:
        for step in range(41):
            now[0] = step / 4  # ten seconds, four times a second
            observe(Status("training", step, 50))
    lines = out.getvalue().splitlines()
    assert lines == [f"training, {int(4 * seconds)}/50 trials" for seconds in (0, LINE_SECONDS, 2 * LINE_SECONDS)]
    assert "\x1b" not in out.getvalue()


def test_the_end_is_always_told() -> None:
    out = io.StringIO()
    with watch(Console(file=out), clock=lambda: 0.0) as observe:
        observe(Status("training", 1, 2))
        observe(Status("measured", 2, 2))
        observe(Status("measured", 2, 2))
    assert out.getvalue().splitlines() == ["training, 1/2 trials", "measured, 2/2 trials"]


def test_a_terminal_gets_a_display_that_leaves_nothing_behind() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24)
    with watch(console) as observe:
        observe(BUSY)
    assert "\x1b[" in out.getvalue()


@pytest.mark.parametrize(("value", "text"), [(950, "950"), (1234, "1.2k"), (45_600, "46k"), (3_400_000, "3.4M")])
def test_rates(value: float, text: str) -> None:
    assert rate(value) == text


@pytest.mark.parametrize(("value", "text"), [(-1, "0 s"), (45.4, "45 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")])
def test_durations(value: float, text: str) -> None:
    assert duration(value) == text
