"""Studies with a ladder: who is stopped, what is written, and that a resumed study decides as one never stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsearch.errors import Interrupted, InvalidInput
from archsearch.search import runner
from archsearch.search.ledger import Ledger, database_url
from archsearch.search.study import Options, run_study
from archsearch.spec.space import Space

LADDER = "study: {trials: 12, sweep: 3, band: [1, 8], ladder: {rungs: [0.25, 0.5], eta: 2%s}}"


def laddered(space: Path, more: str = "") -> Path:
    text = space.read_text()
    space.write_text(text[: text.index("study:")] + LADDER % more + "\n")
    return space


def ran(space: Path, folder: Path):
    return run_study(space, Options(out=folder, sampler="random", precision="float32", device="cpu"))


def outcome(record):
    return [(trial.run, trial.state, trial.message, trial.measurements.get("fvu")) for trial in record.trials]


def test_who_falls_behind_is_stopped_and_the_front_never_is(space: Path, tmp_path: Path):
    record = ran(laddered(space), tmp_path / "out")
    stopped = [trial for trial in record.trials if trial.state == "stopped"]
    assert stopped and all(not trial.measurements and "of its run, where it stood at place" in trial.message for trial in stopped)
    assert not any(trial.baseline for trial in stopped)
    rungs = record.climbed.rungs
    assert set(rungs) == {trial.number for trial in record.trials}
    for trial in record.trials:
        shares = list(rungs[trial.number])
        assert shares == ([0.25, 0.5] if trial.state == "complete" else shares) and shares[0] == 0.25
    assert max(step for trial in stopped for step, _ in trial.history) <= 20  # half of the 40 steps
    sampled = Ledger.open(database_url(tmp_path / "out"), "tiny")
    assert sampled is not None and all(place.told for place in sampled.places())
    # Nobody on the front of its rung is among them.
    for frac in (0.25, 0.5):
        seen = {n: (told[frac]["l0"], told[frac]["fvu"]) for n, told in record.climbed.rungs.items() if frac in told}
        ends = [t for t in record.trials if t.state == "stopped" and list(record.climbed.rungs[t.number])[-1] == frac]
        for trial in ends:
            mine, earlier = seen[trial.number], [value for number, value in seen.items() if number < trial.number + 3]
            assert any(other[0] <= mine[0] and other[1] <= mine[1] and other != mine for other in earlier)


def test_interrupted_at_any_chunk_it_ends_as_one_never_stopped(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    laddered(space)
    whole = ran(space, tmp_path / "whole")
    made, stops = runner.Runner.__post_init__, 0

    def impatient(self):
        asked = iter(range(10**6))
        self.stop = lambda: next(asked) >= 5 + 31 * stops  # and stays so, as after Ctrl-C
        made(self)

    monkeypatch.setattr(runner.Runner, "__post_init__", impatient)
    record = None
    while record is None:
        try:
            record = ran(space, tmp_path / "cut")
        except Interrupted:
            stops += 1
    assert stops >= 3
    assert outcome(record) == outcome(whole)


def test_an_audit_finishes_some_of_the_stopped(space: Path, tmp_path: Path):
    record = ran(laddered(space, ", audit: 1.0"), tmp_path / "out")
    assert record.climbed.audited and all(trial.state == "complete" for trial in record.trials)


@pytest.mark.parametrize(
    "ladder, said", [("{rungs: [0.5, 0.5]}", "rise"), ("{rungs: []}", "rungs"), ("{rungs: [1.0]}", "rungs"), ("{eta: 1}", "eta")]
)
def test_a_ladder_that_cannot_be_is_refused(space: Path, ladder: str, said: str):
    text = space.read_text()
    space.write_text(text[: text.index("study:")] + f"study: {{trials: 12, sweep: 3, ladder: {ladder}}}\n")
    with pytest.raises(InvalidInput, match=said):
        Space.load(space)


def test_a_ladder_needs_two_objectives(space: Path):
    text = space.read_text()
    space.write_text(text[: text.index("study:")] + "study: {trials: 12, sweep: 3, ladder: {}, objectives: [l0, fvu, flops]}\n")
    with pytest.raises(InvalidInput, match="two objectives"):
        Space.load(space)
