"""The Markdown form: one file with tables, and figures that are there and not blank."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from matplotlib.image import imread

from archsearch.reporting.report.confirmed import FILE
from archsearch.reporting.report.data import gather
from archsearch.reporting.report.markdown import plain, save_markdown
from tests.reporting.conftest import study, trial
from tests.reporting.report_studies import EVIL, confirmed, large
from tests.reporting.test_report_data import HARD


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Markdown form of a study that was confirmed."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "confirm").mkdir()
    (folder / FILE).write_text(json.dumps(confirmed()))
    return save_markdown(gather(large(80), folder), folder / "report").parent


def test_every_figure_named_is_there_in_both_forms(folder: Path) -> None:
    named = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (folder / "report.md").read_text())
    assert {"front.png", "hypervolume.png", "learning.png", "confirmation.png", "architecture-1.svg"} <= set(named)
    there = {path.name for path in folder.iterdir()}
    assert set(named) < there
    assert {name.replace(".png", ".svg") for name in named} <= there
    assert not any("partial" in name for name in there)


def test_figures_are_drawn_large_enough_to_print(folder: Path) -> None:
    for path in folder.glob("*.png"):
        pixels = imread(path)
        assert pixels.shape[1] >= 1400
        assert 0.005 < (pixels[..., :3].min(-1) < 0.75).mean() < 0.5, path.name
    for path in folder.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_figures_come_out_the_same_again(folder: Path, tmp_path: Path) -> None:
    again = save_markdown(gather(large(80), folder.parent), tmp_path).parent
    for name in ("report.md", "front.svg", "architecture-1.svg"):
        assert (again / name).read_text() == (folder / name).read_text()


def test_tables_are_rectangular(folder: Path) -> None:
    lines = (folder / "report.md").read_text().splitlines()
    widths = [len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else 0 for line in lines]
    assert all(a == b or 0 in (a, b) for a, b in itertools.pairwise(widths))
    assert max(widths) > 5


def test_the_text_holds_verdict_method_references_and_commands(folder: Path) -> None:
    text = (folder / "report.md").read_text()
    headings = re.findall(r"^## (.*)", text, re.M)
    assert headings[:3] == ["What the study found", "The front against the baselines", "Hypervolume over tokens"]
    assert headings[-3:] == ["Method", "References", "How to repeat it"]
    assert text.index("baseline that reaches there at L0 8 to 16") < text.index("L0 4 to 8:")
    assert "-8.3% (-9.0% to -7.6%): better" in text
    assert "1. " in text and "<https://arxiv.org/abs/2406.04093>" in text
    assert "archsearch study --space large.yaml" in text


def test_text_of_a_study_stays_text(tmp_path: Path) -> None:
    record = study([trial(0, 8, 0.3, words=EVIL, message="a | b\nc [d](e)")], name=EVIL, question=EVIL)
    text = save_markdown(gather(record, tmp_path), tmp_path / "report").read_text()
    assert "<script" not in text and "<img" not in text
    assert "a \\| b c \\[d\\](e)" in text
    assert plain("a\\b*c`d`") == "a\\\\b\\*c\\`d\\`"


@pytest.mark.parametrize("name", HARD)
def test_hard_studies_have_one_too(name: str, tmp_path: Path) -> None:
    assert save_markdown(gather(HARD[name], tmp_path), tmp_path / "report").stat().st_size > 300
