"""A confirmation in words."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from archsearch.reporting.confirmation import conclusions, heading, headlines, judged_cells, measured_cells, print_confirmation

FAILURE = "the loss stopped being finite by step 40"


def row(seed: int, level: int, l0: float, fvu: float, **changes: Any) -> dict[str, Any]:
    costs = {"ce_recovered": None, "dead_frac": 0.1, "gamma": 1.0, "parameters": 2128, "flops": 4096, "seconds": 30.0}
    return {"seed": seed, "level": level, "l0": l0, "fvu": fvu, **costs, **changes}


def verdict(baseline: str, band: list[float], word: str, percent: float | None) -> dict[str, Any]:
    numbers = {"low": None, "high": None, "p": None, "p_holm": None, "seeds": 0}
    if percent is not None:
        numbers = {"low": percent - 1, "high": percent + 1, "p": 0.001, "p_holm": 0.004, "seeds": 2}
    names = {"candidate": "wide", "baseline": baseline, "band": band, "verdict": word}
    return {**names, "percent": percent, **numbers, "sentence": f"wide and {baseline} at {band[0]:g}: {word}"}


@pytest.fixture
def told() -> dict[str, Any]:
    """A confirmation of one candidate against two baselines, with a failure."""
    lost = {**row(2, 1, 0.0, 0.0), "l0": None, "fvu": None, "failure": FAILURE, "seconds": None}
    mine = [row(1, 0, 8.0, 0.2), row(1, 1, 16.0, 0.1), row(2, 0, 8.2, 0.22), lost]
    theirs = [row(seed, level, 8.0 * 2**level, 0.25 / (1 + level), ce_recovered=0.9) for seed in (1, 2) for level in (0, 1)]
    promise = {"l0": 16.0, "difference": -0.1, "fresh": {"at": 16.0, "mean": -0.02, "low": -0.03, "high": 0.01}}
    return {
        "study": "tiny",
        "seeds": [1, 2],
        "tokens": 64_000,
        "contenders": [
            {"name": "wide", "baseline": False, "promise": promise, "rows": mine},
            {"name": "topk", "baseline": True, "rows": theirs},
            {"name": "relu", "baseline": True, "rows": theirs},
        ],
        "verdicts": [
            verdict("topk", [8.0, 16.0], "better", -5.0),
            verdict("topk", [16.0, 32.0], "better", -4.0),
            verdict("topk", [32.0, 64.0], "worse", 3.0),
            verdict("relu", [8.0, 16.0], "better", -25.0),
            verdict("relu", [16.0, 32.0], "not comparable", -20.0),
            verdict("relu", [32.0, 64.0], "not comparable", None),
        ],
        "areas": [{"candidate": "wide", "baseline": "topk", "range": [8.0, 60.0], "percent": -2.0, "low": None, "high": None, "seeds": 1}],
        "hypervolume_gain": {"wide": {"mean": 0.1, "low": 0.05, "high": 0.15, "percent": 4.0, "seeds": 2}},
        "openings": 1,
        "remarks": ["the study has not ended"],
    }


def test_a_candidate_stands_where_every_baseline_that_reaches_there_is_beaten(told: dict[str, Any]) -> None:
    # At 16 to 32 a verdict was taken back; at 32 to 64 one baseline does not reach and the other is better.
    sentences = conclusions(told)
    assert sentences[1] == "wide: better than every baseline that reaches there at L0 8 to 16, worse than one at L0 32 to 64"
    told["verdicts"] = [one for one in told["verdicts"] if one["percent"] is None]
    assert conclusions(told)[1] == "wide: not comparable with any baseline"
    told["verdicts"] = [verdict("topk", [8.0, 16.0], "no difference found", -0.1)]
    assert conclusions(told)[1] == "wide: nowhere better than every baseline"


def test_the_headline_holds_the_smallest_gain_of_each_band(told: dict[str, Any]) -> None:
    # 5% below topk and 25% below relu: against every baseline, 5%.
    assert headlines(told) == [f"{conclusions(told)[1]}; FVU against the nearest of them is lower by 5.0% at L0 8 to 16"]
    told["verdicts"] = [verdict("topk", [8.0, 16.0], "worse", 2.0)]
    assert headlines(told) == ["wide: nowhere better than every baseline, worse than one at L0 8 to 16"]


def test_what_was_promised_is_beside_what_came(told: dict[str, Any]) -> None:
    promised = (
        "wide: the search showed 9.5% lower FVU than the best baseline at L0 16; fresh seeds give 2.0% lower "
        "(95% interval 3.0% lower to 1.0% higher)"
    )
    assert promised in conclusions(told)
    told["contenders"][0]["promise"]["fresh"] = None
    assert any("fresh seeds do not all reach there" in sentence for sentence in conclusions(told))
    told["contenders"][0]["promise"] = None
    assert not any("showed" in sentence for sentence in conclusions(told))


def test_everything_that_matters_is_said(told: dict[str, Any]) -> None:
    text = "\n".join(conclusions(told))
    assert "1 candidate and 2 baselines trained again with 2 fresh seeds on 64,000 tokens (12 SAEs" in text
    assert "6 comparisons: 3 better, 1 worse, 2 not comparable" in text and "at most 5%" in text
    assert f"wide: 1 of its 4 runs failed, of 1 seed, left out where they failed ({FAILURE})" in text
    assert "the test split has been opened once for this study" in text and text.endswith("the study has not ended")
    assert "wide: over all it shares with topk, L0 8 to 60, -2.0% FVU" in text and "(4.0%) to the hypervolume" in text
    told["openings"] = 3
    assert any("opened 3 times" in sentence and "no longer held out" in sentence for sentence in conclusions(told))
    told["verdicts"] = []
    assert any(sentence.startswith("nothing could be compared") for sentence in conclusions(told))


def test_the_tables_hold_means_over_seeds_and_every_verdict(told: dict[str, Any]) -> None:
    wide, topk, _ = told["contenders"]
    assert measured_cells(wide) == [("8.1", "0.2100 +- 0.0141", "-", "10.0%", "1.000"), ("16.0", "0.1000", "-", "10.0%", "1.000")]
    assert measured_cells(topk)[0][2] == "0.900"
    assert heading(wide) == "wide (2,128 parameters, 4,096 FLOPs a token, 30.0 s of training each)"
    assert heading(topk).startswith("baseline topk (")
    cells = judged_cells("wide", told["verdicts"])
    assert cells[0] == ("topk", "8 to 16", "-5.0%", "-6.0 to -4.0", "0.004", "2", "better")
    assert cells[1][0] == "" and cells[5] == ("", "32 to 64", "-", "-", "-", "0", "not comparable")


def test_a_level_that_never_worked_is_shown_as_such(told: dict[str, Any]) -> None:
    wide = told["contenders"][0]
    wide["rows"] = [{**one, "failure": FAILURE, "parameters": None, "flops": None, "seconds": None} for one in wide["rows"]]
    assert measured_cells(wide) == [("-", "all failed", "-", "-", "-")] * 2 and heading(wide) == "wide"


@pytest.mark.parametrize("width", [60, 120])
def test_it_is_printed_whole(told: dict[str, Any], width: int) -> None:
    told["summary"] = conclusions(told)
    console = Console(width=width, record=True, file=None, quiet=False)
    with console.capture() as captured:
        print_confirmation(told, console)
    text = captured.get()
    for piece in ("0.2100 +- 0.0141", "-26.0 to -24.0", "baseline topk", *told["summary"]):
        assert piece in text
