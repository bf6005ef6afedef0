"""Drawings of SAEs: every topology, against what its spec says and what a reader must see."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest

from archsearch.reporting.report.boxes import LOSS, Diagram, diagram, united
from archsearch.reporting.report.drawing import draw, svg
from archsearch.reporting.report.geometry import Line, Placed, Plan, plan
from archsearch.reporting.report.layers import arrange, spaced
from tests.reporting.conftest import spec_of
from tests.reporting.report_studies import EVIL, topologies

NAMES = ("topk", "jumprelu", "gated", "matryoshka_batch_topk", "relu_l1", "prolu", "two encoders", "two stages")


@pytest.fixture(params=NAMES)
def shown(request: pytest.FixtureRequest) -> Diagram:
    """Boxes and arrows of a topology."""
    return diagram(topologies()[request.param])


def plans(whole: Plan) -> Iterator[Plan]:
    """Yields a drawing and those inside it."""
    yield whole
    for placed in whole.boxes:
        if placed.inside:
            yield from plans(placed.inside)


def test_no_two_boxes_overlap_and_all_lie_inside(shown: Diagram) -> None:
    whole = plan(shown)
    for part in plans(whole):
        for a, b in combinations(part.boxes, 2):
            apart = a.x + a.width < b.x or b.x + b.width < a.x or a.y + a.height < b.y or b.y + b.height < a.y
            assert apart, f"{a.box.id} and {b.box.id} overlap"
        for placed in part.boxes:
            assert placed.x >= 0 and placed.x + placed.width <= whole.width
            assert placed.y >= 0 and placed.y + placed.height <= whole.height


def test_what_is_inside_a_nested_graph_lies_inside_its_box() -> None:
    for placed in plan(diagram(topologies()["two stages"])).boxes:
        for inner in placed.inside.boxes if placed.inside else ():
            assert placed.x < inner.x and inner.x + inner.width < placed.x + placed.width
            assert placed.y < inner.y and inner.y + inner.height < placed.y + placed.height


def test_arrows_begin_and_end_on_the_edges_of_their_boxes(shown: Diagram) -> None:
    for part in plans(plan(shown)):
        boxes = {placed.box.id: placed for placed in part.boxes}
        for line in part.lines:
            down = line.stops[0][1] < line.stops[-1][1]
            source, target = boxes[line.arrow.source], boxes[line.arrow.target]
            assert on_edge(line.stops[0], source, bottom=down)
            assert on_edge(line.stops[-1], target, bottom=not down)


def on_edge(place: tuple[float, float], placed: Placed, bottom: bool) -> bool:
    """Tells whether a place is on the upper or lower edge of a box."""
    x, y = place
    return placed.x <= x <= placed.x + placed.width and y == pytest.approx(placed.y + (placed.height if bottom else 0))


def test_no_arrow_runs_through_a_box(shown: Diagram) -> None:
    for part in plans(plan(shown)):
        for line in part.lines:
            for x, y in along(line):
                for placed in part.boxes:
                    inside = placed.x + 1 < x < placed.x + placed.width - 1 and placed.y + 1 < y < placed.y + placed.height - 1
                    assert not inside, f"{line.arrow.source} -> {line.arrow.target} runs through {placed.box.id}"


def along(line: Line) -> Iterator[tuple[float, float]]:
    """Yields places on a line, curves included (the Bezier curve the SVG draws)."""
    for (x0, y0), (x1, y1) in pairwise(line.stops):
        half = (y0 + y1) / 2
        yield from ((bezier(x0, x0, x1, x1, step / 20), bezier(y0, half, half, y1, step / 20)) for step in range(21))


def bezier(a: float, b: float, c: float, d: float, t: float) -> float:
    """Returns a cubic Bezier curve's value."""
    return a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t * t * (1 - t) + d * t**3


def test_every_drawing_is_one_xml_element_with_its_words(shown: Diagram) -> None:
    for standalone in (False, True):
        root = ElementTree.fromstring(svg(shown, "a study's SAE", standalone))
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.attrib["aria-label"].startswith("a study's SAE. ")
        texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
        assert {box.kind for box in shown.boxes if box.slot not in ("signal in", "signal out", "nested")} <= set(texts)


def test_a_chain_is_drawn_as_its_spec_says() -> None:
    shown = diagram(topologies()["topk"])
    arrows = {(a.source, a.target) for a in shown.arrows if not a.parameter and not a.target.startswith(LOSS)}
    chain = ["in/x", "center", "encoder", "gate", "decoder", "out/x"]
    assert arrows == set(pairwise(chain))
    assert [(a.source, a.target) for a in shown.arrows if a.parameter and a.target == "center"] == [("decoder", "center")]
    gate = next(box for box in shown.boxes if box.id == "gate")
    assert gate.settings == ("k 32",)
    place = {placed.box.id: placed.y for placed in plan(shown).boxes}
    assert [place[id] for id in chain] == sorted(place[id] for id in chain)


def test_two_encoders_meet_in_one_gate_and_stopped_gradients_are_marked() -> None:
    shown = diagram(topologies()["two encoders"])
    into = {(a.source, a.port) for a in shown.arrows if a.target == "gate" and not a.parameter}
    assert {("opener", "gate"), ("strength", "magnitude")} <= into
    stopped = [(a.source, a.output) for a in shown.arrows if a.detach]
    assert set(stopped) == {("decoder", "dictionary"), ("decoder", "bias")}
    assert svg(shown, "x").count('class="stop"') == len(stopped)
    places = {placed.box.id: placed for placed in plan(shown).boxes}
    assert places["opener"].y == places["strength"].y


def test_a_nested_graph_is_a_box_with_a_graph_inside() -> None:
    shown = diagram(topologies()["two stages"])
    inner = {box.id: box.inside for box in shown.boxes if box.inside}
    assert set(inner) == {"coarse", "fine"}
    assert [box.kind for box in inner["fine"].boxes] == ["input", "linear_encoder", "batch_topk", "linear_decoder", "output"]
    arrows = {f"{a.source} {a.target}" for a in shown.arrows if not a.target.startswith(LOSS)}
    assert arrows == {"in/x coarse", "in/x rest", "coarse rest", "rest fine", "coarse output", "fine output", "output out/x"}


def test_levels_stand_between_gate_and_decoder() -> None:
    shown = diagram(topologies()["matryoshka_batch_topk"])
    assert {("gate", "level"), ("level", "decoder")} <= {(a.source, a.target) for a in shown.arrows}
    assert [box.id for box in shown.boxes if box.slot == LOSS] == ["loss/dead", "loss/reconstruction"]


def test_terms_of_the_loss_are_dashed_and_parameters_dotted() -> None:
    text = svg(diagram(topologies()["jumprelu"]), "x")
    assert text.count('rect class="loss"') == 2
    assert text.count('path class="term"') == 3 and text.count('path class="param"') == 1


def test_a_spec_that_leaves_wires_open_is_drawn_by_its_order() -> None:
    shown = diagram(spec_of({"kind": "topk", "k": 16}))
    assert [(a.source, a.target) for a in shown.arrows] == list(pairwise(["in/x", "center", "encoder", "gate", "decoder", "out/x"]))


def test_blocks_nobody_knows_and_text_that_means_harm_are_drawn_too() -> None:
    graph = {"gate": {"kind": EVIL, "strength": EVIL}, "decoder": {"kind": "linear_decoder", "depth": "of another version"}}
    text = draw([{"graph": graph, "losses": {"odd": {"kind": "mine", "of": "nowhere"}}}], EVIL)
    ElementTree.fromstring(text.replace("\u2028", " "))
    assert "<script" not in text and "<img" not in text
    ElementTree.fromstring(draw([{}], "no graph at all"))


def test_specs_of_one_shape_are_drawn_once_with_ranges() -> None:
    members = [diagram(spec_of({"kind": "topk", "k": k})) for k in (8, 32, 16)]
    assert len({member.shape() for member in members}) == 1
    gate = next(box for box in united(members).boxes if box.id == "gate")
    assert gate.settings == ("k 8 to 32",)
    words = [diagram(spec_of({"kind": "gated", "training": way})) for way in ("frozen_decoder", "straight_through")]
    gate = next(box for box in united(words).boxes if box.id == "gate")
    assert gate.settings == ("training straight_through (some)",)


def test_boxes_are_spaced_by_least_squares() -> None:
    assert spaced([(0, 1), (0, 1)], [10]) == pytest.approx([-5, 5])
    assert spaced([(0, 3), (0, 1)], [10]) == pytest.approx([-2.5, 7.5])
    assert spaced([(0, 1), (100, 1)], [10]) == pytest.approx([0, 100])
    assert spaced([], []) == []


def test_a_cycle_is_drawn_with_one_wire_upwards() -> None:
    layers = arrange(["a", "b", "c"], [(("a", "b"), 1), (("b", "c"), 1), (("c", "a"), 1)], {}, 10)
    assert [row[0] for row in layers.rows] == ["a", "b", "c"]
    assert layers.chains[2][0] == "a" and layers.chains[2][-1] == "c"  # from the upper end, though it runs up
