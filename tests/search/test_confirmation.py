"""Confirming a small study that really ran: fresh seeds, test rows, openings counted, and nothing done twice."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archsearch.activations import open_activations
from archsearch.assembler.parse import parse
from archsearch.errors import ArchsearchError, Interrupted, InvalidInput, StudyError
from archsearch.evaluation.metrics import evaluate
from archsearch.search import confirmation, replicates
from archsearch.search.confirmation import OPENED, Options, confirm_study
from archsearch.search.contenders import contenders_of, reseeded
from archsearch.search.ledger import Ledger, database_url, read_study
from archsearch.search.lock import only_one
from archsearch.search.study import run_study
from archsearch.spec.activations import SyntheticSource
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from tests.search.test_study import OPTIONS

SPACE = """
name: tiny
activations: {source: synthetic, features: 48, model: 16, active: 3, rows: 4096, eval_rows: 512}
sae:
  width: 48
  graph: {center: pre_bias, encoder: linear_encoder, gate: topk, decoder: linear_decoder}
  training: {tokens: 1280, batch: 64, optimizer: {kind: adam, lr: {float: [0.008, 0.01]}}}
baselines:
  slow:
    width: 48
    graph: {center: pre_bias, encoder: linear_encoder, gate: topk, decoder: linear_decoder}
    training: {tokens: 1280, batch: 64}
study: {trials: 2, sweep: {l0: [3, 8]}, band: [1, 16]}
"""
QUICK = Options(best=1, seeds=2, device="cpu")
OTHER = SyntheticSource(source="synthetic", features=40, model=16, active=2, rows=2048, eval_rows=256, seed=3)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that ran; tests work on copies of it."""
    place = tmp_path_factory.mktemp("searched")
    (place / "tiny.yaml").write_text(SPACE)
    run_study(place / "tiny.yaml", replace(OPTIONS, out=place / "tiny"))
    return place / "tiny"


@pytest.fixture
def folder(searched: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(searched, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def confirmed(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A copy of the study, confirmed once, and what was told; tests only read it, or copy it on."""
    place = Path(shutil.copytree(searched, tmp_path_factory.mktemp("confirmed") / "tiny"))
    _, told = confirm_study(place, QUICK)
    return place, told


def openings(folder: Path) -> list[dict[str, Any]]:
    ledger = Ledger.open(database_url(folder), "tiny")
    assert ledger is not None
    return ledger.events(OPENED)


def rows(told: dict[str, Any]) -> list[dict[str, Any]]:
    return [row for contender in told["contenders"] for row in contender["rows"]]


def test_every_contender_is_trained_at_every_level_with_every_seed(confirmed: tuple[Path, dict[str, Any]]) -> None:
    _, told = confirmed
    assert [contender["baseline"] for contender in told["contenders"]] == [False, True]
    for contender in told["contenders"]:
        assert [(row["seed"], row["level"]) for row in contender["rows"]] == [(s, level) for s in told["seeds"] for level in range(2)]
        assert [row["trial"] for row in contender["rows"][:2]] == contender["trials"]
    assert told["format"] == "archsearch-confirm-1" and (told["split"], told["tokens"], told["openings"]) == ("test", 1280, 1)
    assert 0 not in told["seeds"] and told["activations"]["source"] == "synthetic"
    assert all(row["fvu"] > 0 and row["run"] and row["parameters"] and row["ce_recovered"] is None for row in rows(told))


def test_what_is_measured_is_the_spec_with_a_fresh_seed_on_test_rows(confirmed: tuple[Path, dict[str, Any]]) -> None:
    folder, told = confirmed
    row = told["contenders"][0]["rows"][3]
    trial = next(trial for trial in read_study(folder).trials if trial.number == row["trial"])
    data = open_activations(SyntheticSource.model_validate(read_study(folder).space["activations"]))
    spec = reseeded(trial.spec, row["seed"])
    assert spec["training"]["seed"] == spec["training"]["data_seed"] == row["seed"] == told["seeds"][1]
    member = start(parse(spec), data.split("train"), data.split("calibrate"), precision="float32")
    train([member], Looped())
    alone = evaluate(member.sae, data.split("test"))
    assert (row["l0"], row["fvu"]) == pytest.approx((alone.l0, alone.fvu), rel=1e-6)
    assert alone.fvu != pytest.approx(evaluate(member.sae, data.split("validate")).fvu, rel=1e-6)


def test_again_nothing_is_trained_and_the_test_split_stays_closed(
    confirmed: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, told = confirmed
    folder = Path(shutil.copytree(before, tmp_path / "tiny"))
    assert [event["folder"] for event in openings(folder)] == ["confirm"]
    monkeypatch.setattr(replicates, "train", None)
    _, again = confirm_study(folder, QUICK)
    assert again == told and len(openings(folder)) == 1


def test_more_seeds_train_only_what_is_missing_and_open_the_test_split_again(
    confirmed: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    before, told = confirmed
    folder = Path(shutil.copytree(before, tmp_path / "tiny"))
    _, more = confirm_study(folder, replace(QUICK, seeds=3))
    assert more["seeds"][:2] == told["seeds"] and more["openings"] == len(openings(folder)) == 2
    assert [row for row in rows(more) if row["seed"] in told["seeds"]] == rows(told)


def test_a_stopped_confirmation_goes_on_and_ends_the_same(
    confirmed: tuple[Path, dict[str, Any]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def after_a_while() -> Iterator[Any]:
        calls = iter(range(1000))
        yield lambda: next(calls) > 15

    with monkeypatch.context() as patch:
        patch.setattr(replicates, "graceful", after_a_while)
        with pytest.raises(Interrupted, match="the same command goes on"):
            confirm_study(folder, QUICK)
    lines = len((folder / "confirm" / "runs.jsonl").read_text().splitlines()) if (folder / "confirm" / "runs.jsonl").exists() else 0
    assert lines < 8
    _, told = confirm_study(folder, QUICK)
    assert [(row["l0"], row["fvu"]) for row in rows(told)] == [(row["l0"], row["fvu"]) for row in rows(confirmed[1])]
    assert told["openings"] == 1 + bool(lines)


def test_nothing_measured_opens_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def at_once() -> Iterator[Any]:
        yield lambda: True

    monkeypatch.setattr(replicates, "graceful", at_once)
    with pytest.raises(Interrupted):
        confirm_study(folder, QUICK)
    assert openings(folder) == []


def test_a_seed_that_diverged_is_kept_counted_and_left_out(confirmed: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    before, told = confirmed
    folder = Path(shutil.copytree(before, tmp_path / "tiny"))
    path, lost = folder / "confirm" / "runs.jsonl", told["contenders"][0]["rows"][1]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    failed = [{**{key: line[key] for key in ("name", "run", "split")}, "failure": "it diverged"} for line in lines]
    path.write_text("".join(json.dumps(f if line["run"] == lost["run"] else line) + "\n" for f, line in zip(failed, lines, strict=True)))
    _, again = confirm_study(folder, QUICK)
    (gone,) = [row for row in rows(again) if row.get("failure")]
    assert (gone["failure"], gone["seed"], gone["l0"]) == ("it diverged", lost["seed"], None)
    assert any(verdict["seeds"] < 2 for verdict in again["verdicts"]) and again["openings"] == 1


def test_to_another_width_and_other_activations(folder: Path) -> None:
    out, wide = confirm_study(folder, replace(QUICK, width=64, tokens=640))
    assert out == folder / "confirm-width64" and any("width 64" in remark for remark in wide["remarks"])
    assert any("640 tokens, the study on 1,280" in remark for remark in wide["remarks"]) and wide["tokens"] == 640
    known = contenders_of(read_study(folder), 1)
    assert {row["parameters"] for row in rows(wide)}.isdisjoint({t.measurements["parameters"] for c in known.all for t in c.trials})
    out, there = confirm_study(folder, replace(QUICK, activations=OTHER, label="other"))
    assert out == folder / "confirm-other" and any("other activations" in remark for remark in there["remarks"])
    assert [event["folder"] for event in openings(folder)] == ["confirm-width64", "confirm-other"]
    assert [row["asked"] for row in rows(there)] == [row["asked"] for row in rows(wide)]


def test_what_cannot_be_built_there_is_refused_before_anything_is_trained(folder: Path) -> None:
    with pytest.raises(InvalidInput, match=r"trial \d+ \(.*\): asks for L0 8, and there are only 4 latents"):
        confirm_study(folder, replace(QUICK, width=4))
    views = OTHER.model_copy(update={"hooks": 2})
    with pytest.raises(ArchsearchError, match=r"'x'"):
        confirm_study(folder, replace(QUICK, activations=views, label="views"))
    assert not (folder / "confirm-width4" / "runs.jsonl").exists() and openings(folder) == []


def test_one_seed_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="--seeds must be at least 2"):
        confirm_study(folder, replace(QUICK, seeds=1))


def test_a_study_that_is_running_is_left_alone(folder: Path) -> None:
    with only_one(folder), pytest.raises(StudyError, match="another process"):
        confirm_study(folder, QUICK)


def test_a_folder_without_a_study_is_said_to_hold_none(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study"):
        confirm_study(tmp_path, QUICK)


def test_changed_activations_are_refused_unless_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confirmation, "open_activations", lambda *a, **k: replace(open_activations(*a, **k), fingerprint="f" * 64))
    with pytest.raises(StudyError, match=r"activations have changed.*--activations FILE"):
        confirm_study(folder, QUICK)
    assert openings(folder) == []


def test_another_version_of_the_numbers_is_told(confirmed: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    before, told = confirmed
    assert not any("numerics" in remark for remark in told["remarks"])
    record = read_study(before)
    record.provenance["numerics"] = 0
    group = contenders_of(record, 1)
    assert any("numerics 0 ->" in remark for remark in confirmation._remarks(record, group, QUICK))
    open_one = replace(record, stopped="", planned=99)
    assert any("has not ended (4 of 99 trials)" in remark for remark in confirmation._remarks(open_one, group, QUICK))
