"""What proposes trials: samplers that can be made, and the Gaussian process over structures."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest

from archsearch.errors import InvalidInput
from archsearch.evaluation.hypervolume import hypervolume
from archsearch.search.jobs import Draw
from archsearch.search.records import TrialRecord
from archsearch.search.refining import SLACK, Refining, held
from archsearch.search.sampler import Opening, Sampling, make_sampler
from archsearch.search.study import Options, run_study
from archsearch.search.warm_start import Evidence
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads
from tests.search.stubs import stub_training
from tests.search.test_study import essence
from tests.search.test_walk import crash

KINDS = ("tpe", "nsga2", "random")
BAND = (1.0, 8.0)

FLAT = """
name: flat
activations: {source: synthetic, features: 48, model: 16, active: 3, rows: 4096, eval_rows: 512}
sae:
  width: 48
  graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: {int: [1, 8], log: true}}, decoder: linear_decoder}
  training:
    tokens: 2560
    batch: 64
    optimizer: {kind: adam, lr: {float: [0.001, 0.1], log: true}, beta1: {choice: [0.0, 0.9]}}
study: {trials: 24, sweep: 3, band: [1, 8]}
"""

GROUP = """
variants:
  gate:
    oneof:
      plain: {}
      batch: {graph.gate: {kind: batch_topk, k: {int: [1, 8], log: true}}}
      relu: {graph.gate: relu, losses.sparsity: {kind: l1, weight: {float: [0.1, 10], log: true}}}
      tied: {graph.gate: {kind: topk, k: {int: [1, 8], log: true}}, training.optimizer.eps: {float: [1.0e-9, 1.0e-7], log: true}}
"""

BRANCHED = FLAT.replace("name: flat", f"name: flat{GROUP}")


def refining(text: str, seed: int = 0, objectives: tuple[str, ...] = ("l0", "fvu")) -> Refining:
    """Returns what proposes the structures of a space, baselines having had two asks."""
    space = Space.read(loads(text))
    sampling = Sampling("sqlite://", "flat", "gp", seed, objectives, BAND, Opening(2), space.parameters())
    return Refining(space, sampling)


def trials_of(proposer: Refining, ask: int, picked: dict[str, Any], loss: Any) -> list[TrialRecord]:
    """Returns the trials of a structure at three levels; `loss` says how far above the best FVU it is, None for one that fails."""
    filled = proposer.space.refill({n: v for n, v in picked.items() if n in present(proposer, picked)})
    excess, found = loss(filled.params), []
    for level, l0 in enumerate((1.5, 3.0, 6.0)):
        told = {"l0": l0, "fvu": (0.9 - 0.25 * math.log2(l0)) * (1 + excess)} if excess is not None else {}
        state = "failed" if excess is None else "complete"
        found.append(TrialRecord(10 * ask + level, ask, level, state, {}, filled.params, "", "", f"{ask}.{level}", measurements=told))
    return found


def present(proposer: Refining, picked: dict[str, Any]) -> set[str]:
    """Returns the names of the holes a structure has."""
    return {name for name, parameter in proposer.parameters.items() if all(picked[n] in v for n, v in parameter.condition.items())}


def searched(text: str, seed: int, asks: int, loss: Any) -> list[dict[str, Any]]:
    """Returns what is picked in a search of made-up trials, asks two apart."""
    proposer, known, picks = refining(text, seed), list[TrialRecord](), list[dict[str, Any]]()
    for ask in range(2, 2 + asks):
        picked = proposer.pick(ask, known)
        assert picked is not None
        known += trials_of(proposer, ask, picked, loss)
        picks.append(picked)
    return picks


def rate_of(params: dict[str, Any]) -> float:
    return math.log10(params["training.optimizer.lr"]) + 3  # 0 to 2


def test_every_sampler_can_be_made() -> None:
    assert len({type(make_sampler(kind, 0)) for kind in KINDS}) == len(KINDS)
    with pytest.raises(InvalidInput, match="unknown sampler 'gpp'; did you mean 'gp'"):
        make_sampler("gpp", 0)


def test_a_study_by_gaussian_process_goes_on_after_a_crash_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    path = tmp_path / "flat.yaml"
    path.write_text(BRANCHED)
    options = Options(precision="float32", device="cpu", sampler="gp")
    modelled = Counter[str]()
    original = optuna.samplers.GPSampler.sample_relative

    def counted(self: Any, study: Any, trial: Any, search_space: Any) -> Any:
        modelled["asked"] += 1
        return original(self, study, trial, search_space)

    monkeypatch.setattr(optuna.samplers.GPSampler, "sample_relative", counted)
    whole = run_study(path, replace(options, out=tmp_path / "whole"))
    asked = {trial.ask: trial.params for trial in whole.trials}
    assert modelled["asked"] >= 3  # all but the first, of which each is of another branch
    assert len({asked[ask]["gate"] for ask in range(4)}) == 4
    with monkeypatch.context() as patch:
        crash(patch, Sampling, "ask", 7, after=True)
        with pytest.raises(RuntimeError, match="power cut"):
            run_study(path, replace(options, out=tmp_path / "parts"))
    assert essence(run_study(path, Options(precision="float32", device="cpu", out=tmp_path / "parts"))) == essence(whole)


def test_every_branch_gets_its_turn_first() -> None:
    for seed in range(5):
        picks = searched(BRANCHED, seed, 4, lambda params: 0.0)
        assert {picked["gate"] for picked in picks} == {"plain", "batch", "relu", "tied"}


def test_it_finds_the_branch_and_the_rate_that_are_best() -> None:
    def loss(params: dict[str, Any]) -> float:
        return 0.3 * (params["gate"] != "batch") + 0.3 * (rate_of(params) - 1.5) ** 2

    late = [picked for seed in range(6) for picked in searched(BRANCHED, seed, 14, loss)[7:]]
    assert sum(picked["gate"] == "batch" for picked in late) > 0.6 * len(late)  # a quarter by chance
    assert sum(abs(rate_of(picked) - 1.5) < 0.3 for picked in late) > 0.6 * len(late)  # 30% by chance


def test_it_learns_from_structures_that_fail() -> None:
    def loss(params: dict[str, Any]) -> float | None:
        return None if rate_of(params) > 1.25 else 0.2 * (rate_of(params) - 1.3) ** 2  # best just inside of what diverges

    picks = [rate_of(picked) > 1.25 for seed in range(6) for picked in searched(FLAT, seed, 14, loss)[6:]]
    assert sum(picks) < 0.25 * len(picks)  # 37% by chance


def test_a_structure_that_is_good_at_some_l0_alone_counts_for_that() -> None:
    best = [(1.5, 0.75), (3.0, 0.5), (6.0, 0.25)]
    low, worse = [(1.5, 0.6)], [(1.5, 0.8), (3.0, 0.8), (6.0, 0.7)]
    whole, at_one, nothing = held([best, low, worse], [], BAND)
    assert whole > at_one > nothing == 0


@pytest.mark.parametrize("others", [[], [(2.0, 0.6), (5.0, 0.3)]])
def test_what_is_held_is_what_hypervolume_would_lose(others: list[tuple[float, float]]) -> None:
    curves = [[(1.0 + 0.1 * i, 0.9 - 0.01 * i) for i in range(60)], [(1.2 + 0.2 * i, 0.85 - 0.02 * i) for i in range(30)], [(0.5, 0.1)]]
    for index, found in enumerate(held(curves[:2], others, BAND)):
        rivals = [(l0, SLACK * loss) for other in (*curves[:index], *curves[index + 1 : 2], others) for l0, loss in other]
        assert found == pytest.approx(hypervolume([*rivals, *curves[index]], BAND) - hypervolume(rivals, BAND), abs=0.02)


def test_structures_in_training_are_not_picked_again() -> None:
    proposer, known = refining(BRANCHED), list[TrialRecord]()
    for ask in range(2, 10):
        picked = proposer.pick(ask, known)
        assert picked is not None
        known += trials_of(proposer, ask, picked, lambda params: 0.3 * (rate_of(params) - 1.0) ** 2)
    for ask in range(10, 13):
        picked = proposer.pick(ask, known)
        assert picked is not None
        params = {name: value for name, value in picked.items() if name in present(proposer, picked)}
        known.append(TrialRecord(10 * ask, ask, 0, "running", {}, params, "", "", str(ask)))
    assert len({(trial.params["gate"], round(rate_of(trial.params), 2)) for trial in known[-3:]}) == 3


def test_what_was_there_is_not_picked_again() -> None:
    text = FLAT.replace("lr: {float: [0.001, 0.1], log: true}", "lr: {choice: [0.001, 0.01]}").replace("sweep: 3", "sweep: {l0: [2, 4]}")
    proposer, known, picks = refining(text.replace("{int: [1, 8], log: true}", "4")), list[TrialRecord](), list[Any]()
    for ask in range(2, 12):
        picked = proposer.pick(ask, known) or proposer.space.fill(Draw(0, ask, {})).params
        known += trials_of(proposer, ask, picked, lambda params: 0.1 * (rate_of(params) > 0.5))
        picks.append((picked["training.optimizer.lr"], picked["training.optimizer.beta1"]))
    assert len({*picks[:9]}) == 4
    assert proposer.pick(12, known) is None


def test_trials_of_another_study_and_illegal_draws_are_learned_from() -> None:
    proposer = refining(FLAT)
    for index in range(8):
        rate = 10 ** (-3 + 0.25 * index)
        params = {"training.optimizer.lr": rate, "training.optimizer.beta1": 0.9, "graph.gate.k": 4}
        good = {"l0": 4.0, "fvu": 0.3 + 0.3 * (rate_of(params) - 1.5) ** 2}
        proposer.sampling.add_evidence([Evidence(index, params, good if index else None)], "other")
    drawn = proposer.sampling.ask(2)
    proposer.space.fill(drawn)
    proposer.sampling.tell(drawn.number, None, {"archsearch:illegal": "no legal SAE"})
    besides = proposer.sampling.besides("fvu")
    assert [point is None for _, point in besides] == [True, *[False] * 7, True]
    assert besides[3][1] == pytest.approx((4.0, 0.3 + 0.3 * 0.75**2))
    picked = proposer.pick(40, [])
    assert picked is not None and abs(rate_of(picked) - 1.5) < 0.5


@pytest.mark.parametrize("objectives", ["[l0, flops]", "[l0, fvu, dead_frac]", "[fvu, ce_recovered]"])
def test_objectives_without_curves_over_l0_are_refused_before_anything_is_written(objectives: str, tmp_path: Path) -> None:
    path = tmp_path / "flat.yaml"
    path.write_text(FLAT.replace("sweep: 3", f"sweep: 3, objectives: {objectives}"))
    with pytest.raises(InvalidInput) as caught:
        run_study(path, Options(device="cpu", sampler="gp", out=tmp_path / "out"))
    assert "study.objectives: `--sampler gp` judges curves over l0, of fvu or ce_recovered" in str(caught.value)
    assert "--sampler tpe" in str(caught.value) and not (tmp_path / "out").exists()


def test_what_is_recovered_is_judged_by_what_is_lost() -> None:
    proposer = refining(FLAT, objectives=("l0", "ce_recovered"))
    trial = TrialRecord(0, 2, 0, "complete", {}, {}, "", "", "", measurements={"l0": 4.0, "fvu": 0.5, "ce_recovered": 0.8})
    assert proposer._curve([trial]) == [(4.0, pytest.approx(0.2))]
