"""Priors: what is drawn around them and when, whatever the sampler; a right one helps, a wrong one costs little."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import optuna
import pytest

from archsearch.search.priors import EARLY, LATER, LIKELY, SPREAD, around, priors_of
from archsearch.search.sampler import STARTUP, Opening, Sampling
from archsearch.search.study import Options, run_study
from archsearch.spec.holes import ChoiceHole, FloatHole, IntHole
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads
from tests.search.conftest import SPACE
from tests.search.stubs import stub_training
from tests.search.test_study import essence
from tests.search.test_walk import crash

KINDS = ("tpe", "gp", "nsga2", "random")

PLANTED = """
name: planted
sae:
  width: 8
  graph: {{encoder: linear_encoder, gate: relu, decoder: linear_decoder}}
  training: {{optimizer: {{kind: adam, lr: {{float: [0.0001, 1], log: true{lr}}}, beta1: {{float: [0.0, 0.99]{beta1}}}}}}}
variants:
  gate:
    oneof:
      relu: {{}}
      topk: {{graph.gate: {{kind: topk, k: {{int: [4, 64], log: true{k}}}}}}}
      batch: {{graph.gate: {{kind: batch_topk, k: {{int: [4, 64], log: true}}}}}}
    {gate}
"""
NONE = {"lr": "", "beta1": "", "k": "", "gate": ""}
RIGHT = {"lr": ", prior: 0.03", "beta1": ", prior: 0.55", "k": ", prior: 9", "gate": "prior: topk"}
WRONG = {"lr": ", prior: 1", "beta1": ", prior: 0.0", "k": ", prior: 64", "gate": "prior: relu"}
FLAT = PLANTED.split("variants:")[0].replace("gate: relu", "gate: {{kind: topk, k: {{int: [4, 64], log: true{k}}}}}")
FLAT += "study: {{sweep: 1}}"


def planted(priors: Mapping[str, str], text: str = PLANTED) -> Space:
    return Space.read(loads(text.format(**priors)))


def sampling(space: Space, kind: str, seed: int = 0) -> Sampling:
    return Sampling("sqlite://", "planted", kind, seed, ("l0", "fvu"), (1.0, 64.0), Opening(0, (), priors_of(space)))


def far(params: Mapping[str, Any]) -> float:
    """Returns how far an SAE lies from the best one, in squares of shares of the ranges."""
    count = params.get("gate@topk.graph.gate.k") or params.get("gate@batch.graph.gate.k") or params.get("graph.gate.k", 11)
    apart = (math.log10(params["training.optimizer.lr"]) / 4 + 0.55) ** 2 + (params["training.optimizer.beta1"] / 0.99 - 0.6) ** 2 / 2
    return apart + (math.log2(count / 4) / 4 - 0.35) ** 2 + {"relu": 0.2, "batch": 0.1}.get(params.get("gate", "topk"), 0.0)


def drawn(space: Space, found: Sampling, number: int) -> dict[str, Any]:
    """Asks, fills and tells one trial."""
    trial = found.ask(number)
    params = space.fill(trial).params
    found.tell(trial.number, {"l0": 8.0, "fvu": min(0.2 + far(params), 0.99)}, {})
    return params


def draws(space: Space, found: Sampling, count: int) -> list[dict[str, Any]]:
    """Asks, fills and tells so many trials, one at a time."""
    return [drawn(space, found, number) for number in range(count)]


def asks_needed(priors: Mapping[str, str], goal: float = 0.04, most: int = 60) -> float:
    """Returns after how many asks TPE is so near to the best SAE, the middle one of several seeds."""
    space, needed = planted(priors), list[int]()
    for seed in range(7):
        found = sampling(space, "tpe", seed)
        asks = (ask for ask in range(most) if far(drawn(space, found, ask)) < goal)
        needed.append(next(asks, most) + 1)
    return median(needed)


@pytest.fixture(autouse=True)
def _in_memory(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Keeps Optuna's studies out of a database, which takes most of the time; not where a whole study runs."""
    if "tmp_path" not in request.fixturenames:
        memory = optuna.storages.InMemoryStorage
        monkeypatch.setattr(optuna.storages, "get_storage", lambda storage: storage if isinstance(storage, memory) else memory())


def test_numbers_are_normal_on_the_scale_of_their_hole_and_stay_inside() -> None:
    hole = FloatHole(0.001, 10.0, True, (0.1,))
    shares = [math.log10(float(around(hole, "lr", 0, number) or 0)) / 4 for number in range(2000)]
    assert fmean(shares) == pytest.approx(-0.25, abs=0.02) and stdev(shares) == pytest.approx(0.9 * SPREAD, rel=0.1)  # cut off at an end
    edge = [around(IntHole(1, 8, prior=(8,)), "k", 0, number) for number in range(500)]
    assert set(edge) <= set(range(1, 9)) and edge.count(8) > edge.count(7) > edge.count(5) > 0
    assert all(isinstance(value, int) for value in edge)


def test_a_choice_is_its_prior_or_any_of_its_values() -> None:
    hole = ChoiceHole(("a", "b", None), (None,))
    values = [around(hole, "which", 0, number) for number in range(3000)]
    shares = {value: values.count(value) / len(values) for value in hole.values}
    assert shares[None] == pytest.approx(LIKELY + (1 - LIKELY) / 3, abs=0.03)
    assert shares["a"] == pytest.approx((1 - LIKELY) / 3, abs=0.03)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_structure_is_the_priors_themselves(kind: str) -> None:
    space = planted({**RIGHT, "beta1": ""})
    expected = {"gate": "topk", "gate@topk.graph.gate.k": 9, "training.optimizer.lr": 0.03}
    firsts = [space.fill(sampling(space, kind, seed).ask(0)).params for seed in range(2)]
    assert all({name: first[name] for name in expected} == expected for first in firsts)
    assert firsts[0]["training.optimizer.beta1"] != firsts[1]["training.optimizer.beta1"]  # without a prior: drawn
    again = space.fill(sampling(space, kind).ask(0, attempt=1)).params
    assert again["training.optimizer.lr"] != 0.03  # an illegal one is not drawn again


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_depends_on_seed_ask_and_attempt_alone(kind: str) -> None:
    space = planted(RIGHT, FLAT)
    one, same, other = (draws(space, sampling(space, kind, seed), STARTUP + 2) for seed in (0, 0, 1))
    assert one == same and one[0] == other[0]  # the priors themselves
    assert all(mine != theirs for mine, theirs in zip(one[1:], other[1:], strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_distributions_stay_as_they_are(kind: str) -> None:
    noted: list[dict[str, Any]] = []
    for priors in (NONE, RIGHT):
        space = planted(priors, FLAT)
        found = sampling(space, kind)
        draws(space, found, STARTUP + 2)
        noted += [trial.distributions for trial in found.study.trials]
    assert all(one == noted[0] for one in noted)


def test_random_draws_are_all_around_the_priors_and_later_asks_of_a_sampler_are_few() -> None:
    space = planted(WRONG)
    assert fmean(params["training.optimizer.beta1"] for params in draws(space, sampling(space, "random"), 60)) < 0.25
    late = draws(space, sampling(space, "nsga2"), 60)[STARTUP:]
    near = [params for number, params in enumerate(late, start=STARTUP) if number % LATER == 0]
    rest = [params for number, params in enumerate(late, start=STARTUP) if number % LATER]
    assert (
        fmean(params["training.optimizer.beta1"] for params in near) < 0.25 < fmean(params["training.optimizer.beta1"] for params in rest)
    )
    early = draws(space, sampling(space, "tpe"), STARTUP)
    assert (
        fmean(p["training.optimizer.beta1"] for p in early[::EARLY]) < 0.25 < fmean(p["training.optimizer.beta1"] for p in early[1::EARLY])
    )


def test_a_draw_at_random_heeds_no_prior() -> None:
    space = planted(WRONG)
    found = sampling(space, "tpe")
    betas = [space.fill(found.ask(number, randomly=True)).params["training.optimizer.beta1"] for number in range(40)]
    assert fmean(betas) == pytest.approx(0.5, abs=0.12)


def test_generations_of_nsga2_go_on_counting_with_priors() -> None:
    space = planted(RIGHT)
    found = sampling(space, "nsga2")
    draws(space, found, 56)
    generations = [trial.system_attrs["NSGAIISampler:generation"] for trial in found.study.trials]
    assert generations == [0] * 50 + [1] * 6


def test_a_right_prior_needs_half_the_asks_and_a_wrong_one_less_than_twice_as_many() -> None:
    none = asks_needed(NONE)
    assert asks_needed(RIGHT) < none / 2
    assert asks_needed(WRONG) < 2 * none


def test_a_study_with_priors_goes_on_after_a_crash_as_if_nothing_had_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    path = tmp_path / "tiny.yaml"
    priors = {
        "lr: {float: [0.001, 0.01], log: true}": "lr: {float: [0.001, 0.01], log: true, prior: 0.003}",
        "  gate:\n": "  gate:\n    prior: topk\n",
    }
    text = SPACE
    for old, new in priors.items():
        text = text.replace(old, new, 1)
    path.write_text(text)
    options = Options(precision="float32", device="cpu", trials=15)
    whole = run_study(path, replace(options, out=tmp_path / "whole"))
    first = next(trial for trial in whole.trials if trial.baseline is None)
    assert (first.params["gate"], first.params["training.optimizer.lr"]) == ("topk", 0.003)  # after the baselines
    with monkeypatch.context() as patch:
        crash(patch, Sampling, "ask", 3, after=True)
        with pytest.raises(RuntimeError, match="power cut"):
            run_study(path, replace(options, out=tmp_path / "parts"))
    assert essence(run_study(path, replace(options, out=tmp_path / "parts"))) == essence(whole)
