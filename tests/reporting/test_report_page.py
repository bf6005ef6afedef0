"""The page as a file: escaping, size, colours, headings, and what it leaves out. What it does is tested in a browser."""

from __future__ import annotations

import html.parser
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from archsearch.reporting.report.confirmed import FILE
from archsearch.reporting.report.data import gather
from archsearch.reporting.report.page import SCRIPTS, STYLES, asset, page, save_report
from archsearch.reporting.report.palette import DARK, LIGHT, MARKERS, SERIES_DARK, SERIES_LIGHT, SYMBOLS, glyph, style_of, variables
from archsearch.search.records import Climbed, StudyRecord
from tests.reporting.conftest import spec_of, study, trial
from tests.reporting.report_studies import EVIL, confirmed, large_page
from tests.reporting.test_report_data import HARD

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Reader(html.parser.HTMLParser):
    """Reads a page, refusing elements that are not closed in order."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def names(self) -> list[str]:
        """Returns the tags in order."""
        return [tag for tag, _ in self.tags]


def written(record: StudyRecord, folder: Path = Path("studies/x")) -> str:
    """Returns the page of a record."""
    return page(gather(record, folder))


def channel(value: int) -> float:
    """Returns a channel's part in luminance, by WCAG 2.2."""
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def luminance(colour: str) -> float:
    """Returns the relative luminance of #rrggbb."""
    red, green, blue = (channel(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    """Returns the contrast of two colours, 1 to 21."""
    lighter, darker = sorted((luminance(a), luminance(b)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_contrast_is_computed_as_wcag_does() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
def test_words_stand_out_on_every_surface(scheme: dict[str, str]) -> None:
    for surface in ("page", "surface"):
        for words in ("ink", "muted", "accent"):
            assert contrast(scheme[words], scheme[surface]) >= 4.5, (words, surface)
    assert contrast(scheme["page"], scheme["accent"]) >= 4.5  # a pressed button


@pytest.mark.parametrize(("scheme", "series"), [(LIGHT, SERIES_LIGHT), (DARK, SERIES_DARK)], ids=["light", "dark"])
def test_marks_of_plots_stand_out(scheme: dict[str, str], series: tuple[str, ...]) -> None:
    assert len(set(series)) == len(series)
    assert min(contrast(colour, scheme["page"]) for colour in series) >= 3


def test_series_differ_in_marker_as_well_as_in_colour() -> None:
    looks = [style_of(index) for index in range(40)]
    assert len(set(looks)) == 40
    assert all(a[0] != b[0] and a[1] != b[1] for a, b in itertools.pairwise(looks))
    assert len(SYMBOLS) == len(MARKERS) and len(SERIES_LIGHT) == len(SERIES_DARK)
    assert all(glyph(index) != glyph(index, hollow=True) for index in range(40))


def test_colours_are_written_in_the_palette_alone() -> None:
    for name in (*STYLES, *SCRIPTS):
        assert not re.search(r"#[0-9a-fA-F]{3,8}\b", asset(name)), name
    used = set(re.findall(r"var\(--(\w+)\)", "".join(map(asset, STYLES))))
    assert used <= set(LIGHT)
    assert set(LIGHT) == set(DARK)
    assert "prefers-color-scheme: dark" in variables()


def test_the_page_is_whole_and_its_headings_go_down_in_steps() -> None:
    reader = Reader(large_page())
    levels = [int(tag[1]) for tag in reader.names() if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in reader.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))
    links = [str(attrs["href"]) for tag, attrs in reader.tags if tag == "a" and str(attrs["href"]).startswith("#")]
    assert links and {link[1:] for link in links} <= set(ids)
    labels = [attrs.get("aria-label") for _, attrs in reader.tags if attrs.get("role") in ("img", "region")]
    assert labels and all(labels)
    assert next(attrs for tag, attrs in reader.tags if tag == "html")["lang"] == "en"


def test_nothing_is_loaded_from_elsewhere() -> None:
    for tag, attrs in Reader(large_page()).tags:
        assert "src" not in attrs, tag
        assert tag != "link"
    for name in STYLES:
        assert "url(" not in asset(name) and "@import" not in asset(name)


def test_three_hundred_trials_are_less_than_15_megabytes() -> None:
    text = large_page()
    assert len(text.encode()) < 15e6
    assert text.count("* plotly.js v") == 1
    told = json.loads(re.search(r'<script id="study-data" type="application/json">(.*?)</script>', text, re.S)[1])  # pyright: ignore
    assert len(told["trials"]) == 300
    assert all(isinstance(trial["spec"], str) for trial in told["trials"])


def test_text_of_a_study_adds_no_element_and_ends_no_script(tmp_path: Path) -> None:
    def made(text: str) -> list[str]:
        spec = {**spec_of({"kind": "topk", "k": 16}), "inputs": ["x"], "note": text}
        record = study(
            [
                trial(0, 8, 0.3, baseline=text, words=text, spec=spec, params={text: text, "b": text}),
                trial(1, 8, 0.3, words=text, spec=spec, message=text, params={text: "", "b": "other"}, history=[(1, {text: 1.0})]),
                trial(2, 8, 0.3, state="failed", message=text, measurements={}, spec=spec),
            ],
            name=text, question=text, command=text, stopped=text, provenance={text: text}, space={"name": text, text: text},
        )  # fmt: skip
        return Reader(written(record, tmp_path)).names()

    (tmp_path / "confirm").mkdir()
    (tmp_path / FILE).write_text(json.dumps({**confirmed(EVIL), "summary": [EVIL]}))
    assert made(EVIL) == made("harmless")


def test_sections_with_nothing_to_say_are_left_out(tmp_path: Path) -> None:
    text = written(study([trial(0, 8, 0.3)]))
    for name in ("confirmation", "remarks", "choices", "learning", "interpretability"):
        assert f'id="{name}"' not in text and f'href="#{name}"' not in text
    (tmp_path / "confirm").mkdir()
    (tmp_path / FILE).write_text(json.dumps(confirmed()))
    text = written(study([trial(0, 8, 0.3, message="a remark", history=[(1, {"reconstruction": 2.0})])]), tmp_path)
    for name in ("confirmation", "remarks", "learning"):
        assert f'id="{name}"' in text and f'href="#{name}"' in text
    first, whole = (text.index(words) for words in ("baseline that reaches there at L0 8 to 16", "every baseline at L0 8 to 16"))
    assert first < text.index("the lowest reaches") < whole


def test_what_a_ladder_saved_is_told_where_there_was_one(tmp_path: Path) -> None:
    spec = {**spec_of({"kind": "topk", "k": 16}), "training": {"tokens": 1000}}
    record = study([trial(0, 8, 0.3, spec=spec), trial(1, 8, 0.4, spec=spec, state="stopped", measurements={})])
    assert "The ladder stopped" not in written(record)
    laddered = replace(record, climbed=Climbed({0: {0.25: {"fvu": 0.5}}, 1: {0.25: {"fvu": 0.6}}}))
    assert "The ladder stopped 1 trial and saved" in written(laddered)


@pytest.mark.parametrize("name", HARD)
def test_hard_studies_have_a_page_too(name: str, tmp_path: Path) -> None:
    path = save_report(gather(HARD[name], tmp_path), tmp_path / "report.html")
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]
