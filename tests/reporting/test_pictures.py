"""The two pictures: files that open, with the right things in them. How they look was judged by eye."""

from __future__ import annotations

import html.parser
import math
from pathlib import Path

import pytest
from matplotlib.image import imread

from archsearch.reporting.figures import PIXELS, save_png
from archsearch.reporting.page import _front, save_page
from archsearch.reporting.picture import number, picture, ticks, wrapped
from archsearch.search.records import StudyRecord
from tests.reporting.conftest import study, trial


def test_the_png_has_its_size_and_is_not_blank(busy: StudyRecord, tmp_path: Path) -> None:
    save_png(busy, tmp_path / "front.png")
    pixels = imread(tmp_path / "front.png")
    assert pixels.shape[:2] == PIXELS[::-1]
    assert 0.01 < (pixels[..., :3].min(-1) < 0.5).mean() < 0.5


HARD = {
    "empty": study([]),
    "nothing on the front": study([trial(0, 200, 0.1)]),
    "one point": study([trial(0, 8, 0.1)]),
    "no baseline": study([trial(0, 8, 0.3), trial(1, 32, 0.1)]),
    "markup": study([trial(0, 8, 0.3)], name="a$b$ <script>", question="$x^2$ </script> " + "very long " * 60),
    "perfect": study([trial(0, 8, 0.0)]),
    "all alike": study([trial(n, 8, 0.3) for n in range(20)]),
    "many families": study([trial(n, 4 + n, 0.5 / (n + 1), baseline=f"recipe {n}") for n in range(30)]),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_studies_are_drawn_too(name: str, tmp_path: Path) -> None:
    save_png(HARD[name], tmp_path / "front.png")
    save_page(HARD[name], tmp_path / "front.html")
    assert imread(tmp_path / "front.png").shape[:2] == PIXELS[::-1]


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", ["no baseline", "markup"])
def test_the_page_needs_no_network_and_runs_nothing_a_name_says(name: str, tmp_path: Path) -> None:
    save_page(HARD[name], tmp_path / "front.html")
    reader = _Tags()
    reader.feed((tmp_path / "front.html").read_text())
    outside = [attrs for _, attrs in reader.tags if any(str(attrs.get(key) or "").startswith(("http", "//")) for key in ("src", "href"))]
    assert outside == []
    plain = _Tags()
    save_page(HARD["one point"], tmp_path / "plain.html")
    plain.feed((tmp_path / "plain.html").read_text())
    assert [tag for tag, _ in reader.tags] == [tag for tag, _ in plain.tags]  # text added no element


def test_hovering_shows_words_and_numbers(tmp_path: Path) -> None:
    save_page(study([trial(7, 8, 0.3, words="gated (straight_through), l1 7.2")]), tmp_path / "front.html")
    text = (tmp_path / "front.html").read_text()
    assert "gated (straight_through), l1 7.2" in text
    assert "l0 8  fvu 0.3  ce_recovered 0.7" in text
    assert "trial 7" in text


def test_a_picture_sorts_trials_by_what_they_are(busy: StudyRecord) -> None:
    shown = picture(busy)
    assert [series.name for series in shown.curves] == ["topk", "relu_l1"]
    assert {series.name for series in shown.inside} == {"batch_topk", "gated", "gated (straight_through)", "topk"}
    drawn = sum(len(series.trials) for series in [*shown.tried, *shown.inside, *shown.outside])
    assert drawn == len(busy.trials) - 2  # one failed, one has no FVU
    assert shown.colour_of[1] == shown.curves[0].colour  # a baseline and the family of its name look alike
    assert shown.xlim == (2.0, 128.0)


def test_a_baseline_on_the_front_keeps_its_marker(tmp_path: Path) -> None:
    record = study([trial(0, 8, 0.3, baseline="topk"), trial(1, 16, 0.2)])
    symbols = [trace.marker.symbol for trace in _front(picture(record)) if trace.mode == "markers"]
    assert symbols == [("square", "circle")]
    save_png(record, tmp_path / "front.png")


def test_trials_beyond_the_limits_are_counted() -> None:
    shown = picture(study([trial(0, 8, 0.3), trial(1, 1000, 0.1), trial(2, 9, 5.0), trial(3, 0, 1.0), trial(4, 8, math.nan)]))
    assert shown.hidden == 2  # trials that were measured, but not those with nothing on or no FVU


def test_ticks_are_powers_of_two_in_plain_numbers() -> None:
    assert [number(tick) for tick in ticks((0.2, 9.0))] == ["0.25", "0.5", "1", "2", "4", "8"]


def test_long_text_is_cut() -> None:
    assert wrapped("one two three four five", 9, lines=2) == "one two\nthree ..."
