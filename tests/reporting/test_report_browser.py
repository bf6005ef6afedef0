"""The page in a real browser: what it shows, how it is used with a mouse, a keyboard and a thumb, and that it asks nobody for anything."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from archsearch.reporting.report.data import gather
from archsearch.reporting.report.page import page, save_report
from archsearch.reporting.report.palette import DARK, LIGHT
from archsearch.spec.yaml import loads
from tests.reporting.conftest import spec_of, study, trial
from tests.reporting.report_studies import EVIL, large, large_page
from tests.reporting.test_report_page import contrast

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser; `pip install -e '.[dev]'` brings it")
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine to open the page in")

OPEN_SECONDS = 2.0
"""Most processor time the page's thread should take until its first plot stands; most of it is plotly's script reading itself in."""

LEEWAY = 2.0
"""How much slower a machine may be that is busy with other things; wall time would judge nothing else."""

PLACE = """number => {
  const plot = document.querySelector('.plot[data-figure="front"]'), { xaxis, yaxis } = plot._fullLayout;
  plot.scrollIntoView({ block: "center", behavior: "instant" });
  const trial = JSON.parse(document.getElementById("study-data").textContent).trials.find((t) => t.n === number);
  const box = plot.getBoundingClientRect();
  return [box.left + xaxis._offset + xaxis.d2p(trial.x), box.top + yaxis._offset + yaxis.d2p(trial.y)];
}"""
TEXT_BEYOND_BOXES = """() => [...document.querySelectorAll("svg.sae")].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll("rect")].map((rect) => rect.getBBox());
  return [...svg.querySelectorAll("text")].filter((text) => {
    const t = text.getBBox();
    return !boxes.some((b) => b.x <= t.x && t.x + t.width <= b.x + b.width && b.y <= t.y && t.y + t.height <= b.y + b.height + 1);
  }).map((text) => text.textContent);
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless browser."""
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the study of 300 trials."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(large_page(), encoding="utf-8")
    return path


def watched(context: Any) -> tuple[Any, list[str]]:
    """Returns a new tab, and a list of what it complains of and asks for."""
    tab, seen = context.new_page(), list[str]()
    tab.on("console", lambda message: seen.append(message.text))
    tab.on("pageerror", lambda error: seen.append(str(error)))
    tab.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else seen.append(request.url))
    return tab, seen


def until(tab: Any, expression: str, seconds: float = 30.0) -> None:
    """Waits until an expression holds (the page's own policy lets nobody wait inside it)."""
    end = time.monotonic() + seconds
    while not tab.evaluate(expression):
        assert time.monotonic() < end, expression
        tab.wait_for_timeout(50)


@pytest.fixture(scope="module")
def opened(browser: Any, file: Path) -> Iterator[tuple[Any, list[str]]]:
    """The large page in a wide window, with its first plot drawn."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab, seen = watched(context)
    session = context.new_cdp_session(tab)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    tab.goto(file.as_uri())
    tab.wait_for_selector('.plot[data-figure="front"] .main-svg', state="attached")
    spent = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    tab.task_seconds = spent["TaskDuration"]
    yield tab, seen
    context.close()


@pytest.fixture
def tab(opened: tuple[Any, list[str]]) -> Iterator[Any]:
    """The large page; whatever a test does, nothing may be complained of or asked for."""
    found, seen = opened
    found.mouse.move(0, 0)
    yield found
    if found.evaluate("document.getElementById('panel').open"):
        found.keyboard.press("Escape")
    assert seen == []


def test_it_opens_in_two_seconds(tab: Any) -> None:
    assert tab.task_seconds < OPEN_SECONDS * LEEWAY


def test_hovering_shows_a_spec_in_words_and_numbers(tab: Any) -> None:
    chosen = gather(large(), Path("studies/large")).front[-1]
    tab.mouse.move(*tab.evaluate(PLACE, chosen.trial))
    tab.wait_for_selector(".hoverlayer .hovertext")
    said = tab.text_content(".hoverlayer")
    assert f"trial {chosen.trial}" in said and f"FVU {chosen.fvu:.4g}" in said
    assert large().trials[chosen.trial].words.split(",")[0] in said


def test_clicking_a_point_opens_its_trial(tab: Any) -> None:
    chosen = gather(large(), Path("studies/large")).front[-1].trial
    trial_ = large().trials[chosen]
    tab.mouse.move(*tab.evaluate(PLACE, chosen))
    tab.mouse.down()
    tab.mouse.up()
    tab.wait_for_selector("#panel[open] .plot .main-svg")
    assert tab.inner_text("#panel-title").startswith(f"Trial {chosen}: ")
    assert loads(tab.text_content("#panel-spec")).data == trial_.spec
    assert trial_.run in tab.inner_text(".measured")
    assert tab.locator("#panel svg.sae rect").count() >= 6
    tab.click("#panel >> text=Copy")
    tab.wait_for_selector("#panel .said:not(:empty)")
    assert tab.inner_text("#panel .said") == "copied"
    assert loads(tab.evaluate("navigator.clipboard.readText()")).data == trial_.spec
    tab.click("#panel >> text=Close")
    assert not tab.evaluate("document.getElementById('panel').open")


def test_it_can_be_used_with_a_keyboard_alone(tab: Any) -> None:
    tab.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the findings"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "findings"
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.matches('button[data-trial]')"):
            break
    focus = tab.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert focus == "3px"
    tab.keyboard.press("ArrowDown")
    number = tab.evaluate("document.activeElement.textContent")
    assert number == str(gather(large(), Path("studies/large")).front[1].trial)
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#panel[open]")
    assert tab.inner_text("#panel-title").startswith(f"Trial {number}: ")
    assert tab.evaluate("document.getElementById('panel').contains(document.activeElement)")
    tab.keyboard.press("Escape")
    assert not tab.evaluate("document.getElementById('panel').open")
    assert tab.evaluate("document.activeElement.textContent") == number


def test_a_series_can_be_hidden(tab: Any) -> None:
    drawn = "document.querySelectorAll('.plot[data-figure=\"front\"] .scatterlayer .trace').length"
    before = tab.evaluate(drawn)
    tab.click('button[data-series="search:0"][data-figure-of="front"]')
    until(tab, f"{drawn} < {before}")
    tab.click('button[data-series="search:0"][data-figure-of="front"]')
    until(tab, f"{drawn} === {before}")


def test_fvu_can_be_read_in_logarithms(tab: Any) -> None:
    kind = "document.querySelector('.plot[data-figure=\"front\"]')._fullLayout.yaxis.type"
    assert tab.evaluate(kind) == "linear"
    tab.click("button[data-log]")
    until(tab, f"{kind} === 'log'")
    tab.click("button[data-log]")
    until(tab, f"{kind} === 'linear'")


def test_every_plot_is_drawn_and_offers_to_send_nothing_away(tab: Any) -> None:
    for name in ("hypervolume", "learning"):
        tab.evaluate(f"document.getElementById('{name}').scrollIntoView({{ behavior: 'instant' }})")
        figure = {"hypervolume": "volume"}.get(name, name)
        tab.wait_for_selector(f'.plot[data-figure="{figure}"] .scatterlayer .trace', state="attached")
    offered = set(tab.evaluate("[...document.querySelectorAll('.modebar-btn')].map((button) => button.dataset.title)"))
    assert offered == {"Download plot as a PNG", "Zoom", "Pan", "Reset axes"}


def test_words_of_drawings_lie_inside_their_boxes(tab: Any) -> None:
    assert tab.evaluate(TEXT_BEYOND_BOXES) == []


def test_the_scheme_of_the_reader_is_followed_at_once(tab: Any) -> None:
    font = "document.querySelector('.plot[data-figure=\"front\"]')._fullLayout.font.color"
    assert tab.evaluate(font) == LIGHT["ink"]
    try:
        tab.emulate_media(color_scheme="dark")
        until(tab, f"{font} === '{DARK['ink']}'")
        red, green, blue = (int(DARK["page"][i : i + 2], 16) for i in (1, 3, 5))
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == f"rgb({red}, {green}, {blue})"
        assert contrast(DARK["ink"], DARK["page"]) > 7
    finally:
        tab.emulate_media(color_scheme="light")
    until(tab, f"{font} === '{LIGHT['ink']}'")


def test_a_phone_scrolls_down_only(browser: Any, file: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, device_scale_factor=2)
    tab, seen = watched(context)
    tab.goto(file.as_uri())
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for figure in ("front", "volume", "learning"):
        tab.locator(f'.plot[data-figure="{figure}"]').scroll_into_view_if_needed()
        tab.wait_for_selector(f'.plot[data-figure="{figure}"] .main-svg', state="attached")
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    row = tab.locator("button[data-trial]").first
    row.tap()
    tab.wait_for_selector("#panel[open] .plot .main-svg", state="attached")
    assert tab.evaluate("[document.documentElement.scrollWidth, document.getElementById('panel').scrollWidth]") == [390, 390]
    assert tab.evaluate(TEXT_BEYOND_BOXES) == []
    assert seen == []
    context.close()


def test_a_study_that_means_harm_does_none(browser: Any, tmp_path: Path) -> None:
    spec = {**spec_of({"kind": "topk", "k": 16}), "note": EVIL}
    record = study(
        [trial(0, 8, 0.3, words=EVIL, spec=spec, message=EVIL, baseline=EVIL, history=[(1, {EVIL: 1.0}), (2, {EVIL: 0.5})])],
        name=EVIL, question=EVIL, command=EVIL,
    )  # fmt: skip
    context = browser.new_context()
    tab, seen = watched(context)
    tab.goto(save_report(gather(record, tmp_path), tmp_path / "report.html").as_uri())
    assert tab.inner_text("h1").startswith("</script><script>window.harmed = 1")
    tab.locator('.plot[data-figure="front"]').scroll_into_view_if_needed()
    tab.wait_for_selector('.plot[data-figure="front"] .main-svg')
    tab.mouse.move(*tab.evaluate(PLACE, 0))
    tab.wait_for_selector(".hoverlayer .hovertext")
    assert "<img src=x" in tab.evaluate("document.querySelector('.hoverlayer').textContent")
    tab.click("button[data-trial]")
    tab.wait_for_selector("#panel[open] .plot .main-svg", state="attached")
    assert tab.evaluate("window.harmed") is None
    assert loads(tab.text_content("#panel-spec")).data["note"] == EVIL
    assert seen == []
    context.close()


def test_an_empty_study_opens_without_complaint(browser: Any, tmp_path: Path) -> None:
    context = browser.new_context()
    tab, seen = watched(context)
    (tmp_path / "report.html").write_text(page(gather(study([]), tmp_path)), encoding="utf-8")
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_selector('.plot[data-figure="front"] .main-svg', state="attached")
    assert "No finished trial lies in the band" in tab.inner_text(".verdict")
    assert seen == []
    context.close()
