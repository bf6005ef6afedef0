"""A new study begun from an earlier one: what it takes over, what it says of it, and that none of it counts twice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from archsearch.errors import StudyError
from archsearch.search import warm_start
from archsearch.search.jobs import Draft, Setting
from archsearch.search.ledger import Ledger, database_url, read_study
from archsearch.search.records import StudyRecord, front
from archsearch.search.sampler import ORIGIN, Sampling
from archsearch.search.study import Options, run_study
from archsearch.search.warm_start import WarmStart, plan, same_start
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads
from tests.search.conftest import SPACE
from tests.search.stubs import stub_training
from tests.search.test_study import essence
from tests.search.test_walk import crash

OPTIONS = Options(precision="float32", device="cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a finished study of made-up measurements; tests only read it."""
    place = tmp_path_factory.mktemp("studies")
    (place / "tiny.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARCHSEARCH_CACHE", str(place / "cache"))
        stub_training(patch)
        run_study(place / "tiny.yaml", replace(OPTIONS, out=place / "earlier", trials=15))
    yield place / "earlier"


@pytest.fixture
def earlier(folder: Path) -> StudyRecord:
    """That study."""
    return read_study(folder)


def here(record: StudyRecord) -> Setting:
    return Setting(16, record.provenance["activations"]["fingerprint"], "float32")


def planned(record: StudyRecord, setting: Setting | None = None, **replaced: str) -> WarmStart:
    text = SPACE
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new, 1)
    return plan(record, "earlier", Space.read(loads(text)), setting or here(record))


def searched(record: StudyRecord) -> list[Any]:
    return [trial for trial in record.trials if trial.baseline is None]


def test_every_trial_of_the_same_space_is_evidence_and_the_front_is_asked_first(earlier: StudyRecord) -> None:
    found = planned(earlier, **{"trials: 6": "trials: 18"})
    assert [(one.number, one.params) for one in found.evidence] == [(t.number, t.params) for t in searched(earlier)]
    assert all(
        one.measurements == {name: earlier.trials[one.number].measurements[name] for name in ("l0", "fvu")} for one in found.evidence
    )
    best = {trial.ask for trial in front(earlier.trials, earlier.band) if trial.baseline is None}
    asked = [next(t.ask for t in searched(earlier) if _structure(t.params) == _structure(params)) for params in found.asks]
    assert len(asked) == 3 and set(asked) <= best and len(asked) == len(set(asked))  # of six structures to come, at most half
    assert found.said[-1] == "the sampler is told of 15 trials of it; they are no trials of this study"
    assert WarmStart.read(found.as_dict()) == found


def _structure(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if not name.endswith((".k", ".weight"))}


def test_first_are_those_the_front_would_lose_most_without(earlier: StudyRecord) -> None:
    def told(trial: Any, l0: float, fvu: float) -> Any:
        return replace(trial, measurements={**trial.measurements, "l0": l0, "fvu": fvu})

    values = {0: (7.9, 0.88), 1: (2.0, 0.5), 2: (4.0, 0.49)}  # by ask of the search; all on the front but the rest
    first = [next(t for t in searched(earlier) if t.ask == ask) for ask in sorted({t.ask for t in searched(earlier)})][:3]
    made = {trial.number: told(trial, *values[index]) for index, trial in enumerate(first)}
    record = replace(earlier, trials=[made.get(t.number, replace(t, state="failed", measurements={})) for t in earlier.trials])
    found = planned(record, **{"trials: 6": "trials: 24"})
    assert found.asks == [first[1].params, first[2].params]  # the first of all lies behind the others
    assert f"trials {first[1].number} and {first[2].number}, best first" in found.said[1]
    assert "12 of them as failed or stopped" in found.said[-1]
    few = planned(record)
    assert few.asks == [first[1].params] and "1 more of its front lie in this space" in few.said[2]  # two structures in all: half of them


def test_trials_outside_the_space_are_counted_and_not_used(earlier: StudyRecord) -> None:
    relu = "      relu: {losses.sparsity: {kind: l1, weight: {float: [0.5, 5], log: true}}}\n"
    found = planned(earlier, **{relu: "      plain: {graph.encoder: {kind: linear_encoder, bias: false}}\n", "trials: 6": "trials: 24"})
    outside = [trial for trial in searched(earlier) if trial.params["gate"] == "relu"]
    assert outside and {one.number for one in found.evidence} == {t.number for t in searched(earlier)} - {t.number for t in outside}
    assert f"{len(outside)} trials of it lie outside this space" in found.said
    assert all(params["gate"] == "topk" for params in found.asks)


def test_holes_of_other_names_and_ranges_are_read_off_the_spec(earlier: StudyRecord) -> None:
    short = {"  gate:\n    oneof:\n": "  which:\n    oneof:\n", "k: {int: [1, 8], log: true}}}\n": "k: {int: [1, 2]}}}\n"}
    found = planned(earlier, **short)
    counts = [trial.params["gate@topk.graph.gate.k"] for trial in searched(earlier) if trial.params["gate"] == "topk"]
    assert 0 < len([count for count in counts if count <= 2]) < len(counts)
    told = [one.params["which@topk.graph.gate.k"] for one in found.evidence if one.params["which"] == "topk"]
    assert told == [count for count in counts if count <= 2]
    other = "have a structure of this space, but another length of their run or another sparsity"
    assert f"{len(counts) - len(told)} trials of it {other}" in found.said


def test_a_longer_run_is_asked_first_but_no_evidence(earlier: StudyRecord) -> None:
    found = planned(earlier, **{"tokens: 2560": "tokens: 5120"})
    assert found.asks and not found.evidence
    assert "15 trials of it have a structure of this space, but another length of their run or another sparsity" in found.said


def test_levels_of_a_sweep_over_l0_are_told_apart(earlier: StudyRecord) -> None:
    text = SPACE.replace("weight: {float: [0.5, 5], log: true}", "weight: 1.0").replace("k: {int: [1, 8], log: true}}}\n", "k: 4}}\n", 1)
    space = Space.read(loads(text.replace("sweep: 3", "sweep: {l0: [2, 4]}")))
    trials = []
    for gate, level in (("relu", 2), ("relu", 4), ("topk", 4)):
        filled = space.refill({"gate": gate, "training.optimizer.lr": 0.002, "target_l0": level})
        row = Draft(len(trials), 0, filled.document, filled.params).row(len(trials), here(earlier))
        base = replace(earlier.trials[-1], number=row.number, ask=0 if gate == "relu" else 1, baseline=None, copied_from=None)
        trials.append(replace(base, spec=row.spec, params={}))  # as if nobody had said what its holes were filled with
    found = plan(replace(earlier, trials=trials), "earlier", space, here(earlier))
    assert [(one.params["gate"], one.params["target_l0"]) for one in found.evidence] == [("relu", 2), ("relu", 4), ("topk", 4)]


@pytest.mark.parametrize(
    ("setting", "replaced", "said"),
    [
        ({"fingerprint": "0" * 16}, {}, "activations {was} -> 000000000000"),
        ({"precision": "float64"}, {}, "precision float32 -> float64"),
        ({}, {"band: [1, 8]": "band: [1, 16]"}, "band [1.0, 8.0] -> [1.0, 16.0]"),
        ({}, {"study: {": "study: {objectives: [l0, dead_frac], "}, "objectives l0, fvu -> l0, dead_frac"),
    ],
)
def test_numbers_that_mean_something_else_are_no_evidence(
    setting: dict[str, Any], replaced: dict[str, str], said: str, earlier: StudyRecord
) -> None:
    found = planned(earlier, replace(here(earlier), **setting), **replaced)
    was = earlier.provenance["activations"]["fingerprint"][:12]
    assert found.asks and not found.evidence
    assert found.said[-1] == f"its trials are no evidence here: {said.format(was=was)}"


def test_other_numerics_are_no_evidence(earlier: StudyRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_start, "NUMERICS", 99)
    assert "no evidence here: numerics" in planned(earlier).said[-1]


def test_a_study_that_shares_nothing_is_refused_with_what_differs(earlier: StudyRecord) -> None:
    with pytest.raises(StudyError, match=r"nothing for this space:\n(.*\n)*.*differs in width") as caught:
        planned(earlier, **{"sae:\n  width: 48": "sae:\n  width: 32"})
    assert "15 trials of it lie outside this space" in str(caught.value)


def begun(space: Path, out: Path, start: Path, **options: Any) -> StudyRecord:
    space.write_text(SPACE.replace("name: tiny", "name: later"))
    return run_study(space, replace(OPTIONS, out=out, warm_start=str(start), trials=12, **options))


def later(out: Path) -> list[optuna.trial.FrozenTrial]:
    return optuna.load_study(study_name="later", storage=database_url(out)).trials


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_evidence_is_no_trial_of_the_study_and_survives_a_crash_without_doubles(
    sampler: str, folder: Path, earlier: StudyRecord, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_training(monkeypatch)
    shutil.copytree(folder, tmp_path / "earlier")
    whole = begun(space, tmp_path / "whole", tmp_path / "earlier", sampler=sampler)
    assert len(searched(whole)) == 12 and len(whole.trials) == 15
    assert [t.user_attrs.get(ORIGIN) for t in later(tmp_path / "whole")] == [f"tiny:{t.number}" for t in searched(earlier)] + [None] * 12
    first = next(trial for trial in whole.trials if trial.baseline is None)
    assert first.params == planned(earlier, **{"trials: 6": "trials: 12"}).asks[0] and first.copied_from is None
    with monkeypatch.context() as patch:
        crash(patch, optuna.Study, "add_trial", 7, after=True)
        with pytest.raises(RuntimeError, match="power cut"):
            begun(space, tmp_path / "parts", tmp_path / "earlier", sampler=sampler)
    assert len(later(tmp_path / "parts")) == 7
    shutil.rmtree(tmp_path / "earlier")  # it need not be there any more
    parts = begun(space, tmp_path / "parts", tmp_path / "earlier", sampler=sampler)
    assert essence(parts) == essence(whole)
    marks = [t.user_attrs.get(ORIGIN) for t in later(tmp_path / "parts")]
    assert marks == [t.user_attrs.get(ORIGIN) for t in later(tmp_path / "whole")]
    if sampler == "nsga2":
        assert all(t.system_attrs["NSGAIISampler:generation"] == 0 for t in later(tmp_path / "whole"))


def test_evidence_is_learned_from() -> None:
    """Beyond its start-up from the first ask on, a sampler that was told of a good region stays there."""
    text = "name: one\nsae: {width: 8, graph: {encoder: linear_encoder, gate: {kind: topk, k: {int: [1, 8]}}, decoder: linear_decoder},\n"
    space = Space.read(loads(text + "  training: {optimizer: {kind: adam, lr: {float: [0.0001, 1], log: true}}}}\n"))
    told = [
        warm_start.Evidence(number, {"graph.gate.k": 4, "training.optimizer.lr": rate}, {"l0": 4.0, "fvu": 0.2 if rate < 0.002 else 0.9})
        for number, rate in enumerate([0.001, 0.0012, 0.0009, *(0.003 * 1.3**step for step in range(20))])
    ]
    sampling = Sampling("sqlite://", "one", "tpe", 0, ("l0", "fvu"), (1.0, 8.0), holes=space.parameters())
    sampling.add_evidence(told, "tiny")
    sampling.add_evidence(told, "tiny")
    assert len(sampling.study.trials) == len(told) and sampling.forget_orphans(set()) == 0
    rates = [space.fill(sampling.ask(number)).params["training.optimizer.lr"] for number in range(8)]
    assert sum(rate < 0.004 for rate in rates) >= 6


def test_a_start_cannot_be_changed(earlier: StudyRecord, folder: Path, tmp_path: Path) -> None:
    events = [planned(earlier, **{"trials: 6": "trials: 18"}).as_dict()]
    for again in (None, "tiny", "earlier"):
        same_start(events, again, tmp_path)
    with pytest.raises(StudyError, match="begun from earlier, and a start cannot be changed; got --warm-start other"):
        same_start(events, "other", tmp_path)
    with pytest.raises(StudyError, match="begun without a warm start, and a start cannot be changed"):
        same_start([], "earlier", tmp_path)


def test_a_study_that_is_begun_takes_no_warm_start(folder: Path, space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    run_study(space, replace(OPTIONS, out=tmp_path / "out"))
    with pytest.raises(StudyError, match="begun without a warm start"):
        run_study(space, replace(OPTIONS, out=tmp_path / "out", warm_start=str(folder)))


def test_without_a_study_there_is_nothing_to_begin_from(space: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="holds no study"):
        begun(space, tmp_path / "out", tmp_path / "empty")
    assert Ledger.open(database_url(tmp_path / "out"), "later") is None
