"""What proposes trials: the Gaussian process for flat spaces, and which spaces it refuses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest

from archsearch.errors import InvalidInput
from archsearch.search.ledger import database_url
from archsearch.search.sampler import Sampling, make_sampler, refuse_branches
from archsearch.search.study import Options, run_study
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads
from tests.search.stubs import stub_training
from tests.search.test_study import essence
from tests.search.test_walk import crash

KINDS = ("tpe", "gp", "nsga2", "random")

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
study: {trials: 18, sweep: 3, band: [1, 8]}
"""

GROUP = """
variants:
  gate:
    oneof:
      plain: {}
      batch: {graph.gate: {kind: batch_topk, k: {int: [1, 8], log: true}}}
"""


def told(space: Space, sampling: Sampling, number: int, measure: Any) -> bool:
    """Runs one trial of made-up measurements, None for one that fails; tells whether it failed."""
    trial = sampling.ask(number)
    found = measure(space.fill(trial).params)
    sampling.tell(trial.number, found, {})
    return found is None


def test_every_sampler_can_be_made() -> None:
    assert len({type(make_sampler(kind, 0)) for kind in KINDS}) == len(KINDS)
    with pytest.raises(InvalidInput, match="unknown sampler 'gpp'; did you mean 'gp'"):
        make_sampler("gpp", 0)


def test_a_study_by_gaussian_process_goes_on_after_a_crash_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    path = tmp_path / "flat.yaml"
    path.write_text(FLAT)
    whole = run_study(path, Options(precision="float32", device="cpu", sampler="gp", out=tmp_path / "whole"))
    asked = {trial.ask: trial.params for trial in whole.trials}
    assert len({str(params) for params in asked.values()}) == 6
    with monkeypatch.context() as patch:
        crash(patch, Sampling, "ask", 6, after=True)
        with pytest.raises(RuntimeError, match="power cut"):
            run_study(path, Options(precision="float32", device="cpu", sampler="gp", out=tmp_path / "parts"))
    assert essence(run_study(path, Options(precision="float32", device="cpu", out=tmp_path / "parts"))) == essence(whole)
    trials = optuna.load_study(study_name="flat", storage=database_url(tmp_path / "parts")).trials
    assert any("gp:relative_params:0" in trial.system_attrs for trial in trials)  # not all of it was start-up


def test_a_gaussian_process_learns_from_trials_that_fail() -> None:
    space = Space.read(loads(FLAT))
    sampling = Sampling("sqlite://", "flat", "gp", 0, ("l0", "fvu"), (1.0, 8.0))

    def measure(params: dict[str, Any]) -> dict[str, float] | None:
        rate = math.log10(params["training.optimizer.lr"]) + 3  # 0 to 2, best at 1.3: just inside of what diverges
        if rate > 1.25:
            return None
        l0 = params["graph.gate.k"]
        return {"l0": l0, "fvu": 0.9 - 0.2 * math.log2(l0) / 3 + 0.2 * (rate - 1.3) ** 2}

    failed = [told(space, sampling, number, measure) for number in range(25)]
    assert sum(failed[:17]) >= 4  # a third of the range diverges
    assert sum(failed[17:]) <= 2


def test_asks_in_flight_differ() -> None:
    space = Space.read(loads(FLAT))
    sampling = Sampling("sqlite://", "flat", "gp", 0, ("l0", "fvu"), (1.0, 8.0))

    def measure(params: dict[str, Any]) -> dict[str, float]:
        return {"l0": params["graph.gate.k"], "fvu": params["training.optimizer.lr"]}

    for number in range(12):
        told(space, sampling, number, measure)
    fills = [space.fill(sampling.ask(number)).params for number in range(12, 15)]
    assert len({str(params) for params in fills}) == 3


def test_a_space_with_branches_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = tmp_path / "flat.yaml"
    path.write_text(FLAT.replace("name: flat", f"name: flat{GROUP}"))
    with pytest.raises(InvalidInput) as caught:
        run_study(path, Options(device="cpu", sampler="gp", out=tmp_path / "out"))
    said = f"{path}:4 -> variants.gate: `--sampler gp` refines one flat space, but gate decides whether"
    assert said in str(caught.value) and "graph.gate.k" in str(caught.value) and "--sampler tpe" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_choice_without_branches_is_flat() -> None:
    refuse_branches("gp", Space.read(loads(FLAT)))
    without = FLAT.replace("  width: 48\n", "")
    refuse_branches("gp", Space.read(loads(f"{without}variants: {{beta: {{oneof: {{one: {{width: 24}}, two: {{width: 48}}}}}}}}")))
    refuse_branches("tpe", Space.read(loads(FLAT.replace("name: flat", f"name: flat{GROUP}"))))
