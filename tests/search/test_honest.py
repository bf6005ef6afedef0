"""A comparison cannot be won by what is no better SAE: a dense path past the code, a dead code, a score by batch, another spelling."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from archsearch.activations import open_activations
from archsearch.assembler.build import load_sae
from archsearch.assembler.sae import SAE
from archsearch.evaluation.hypervolume import hypervolume
from archsearch.search.endings import trained_tokens
from archsearch.search.jobs import Draft, Setting
from archsearch.search.ledger import database_url
from archsearch.search.records import StudyRecord, TrialRecord, feasible, front
from archsearch.search.study import Options, run_study
from archsearch.search.tables import TrialRow
from archsearch.spec.activations import FileSource
from archsearch.spec.space import Space
from archsearch.spec.yaml import loads
from tests.search.stubs import stub_training

OPTIONS = Options(precision="float32", device="cpu")

DATA = "activations: {source: synthetic, features: 32, model: 24, active: 2, rows: 8192, eval_rows: 1024}"
TRAINING = "training: {tokens: 25600, batch: 256, optimizer: {kind: adam, lr: 0.03}}"

TRUNKS = {
    "beside the code": """
    center: pre_bias
    encoder: linear_encoder
    gate: {kind: topk, k: {choice: [1, 2]}}
    decoder: linear_decoder
    trunk: {kind: linear_map, bottleneck: 6, from: x}
    output: {kind: add, from: [decoder, trunk]}
""",
    "before the code, which is left the rest": """
    trunk: {kind: linear_map, bottleneck: 6, from: x}
    rest: {kind: subtract, from: [x, trunk]}
    encoder: linear_encoder
    gate: {kind: topk, k: {choice: [1, 2]}}
    decoder: linear_decoder
    output: {kind: add, from: [decoder, trunk]}
""",
}
"""SAEs of the sort that won a search by L0 and FVU elsewhere: most of what they explain passes no code."""

TRUNK = f"""
name: trunk
{DATA}
sae:
  width: 32
  graph: %s
  init: transposed
  {TRAINING}
baselines:
  topk:
    width: 32
    graph: {{center: pre_bias, encoder: linear_encoder, gate: {{kind: topk, k: {{choice: [1, 2, 4, 6]}}}}, decoder: linear_decoder}}
    init: transposed
    {TRAINING}
study: {{trials: 2, sweep: 4, band: [1, 12]}}
"""


def run(tmp_path: Path, text: str, **options: Any) -> StudyRecord:
    (tmp_path / "space.yaml").write_text(text)
    return run_study(tmp_path / "space.yaml", replace(OPTIONS, out=tmp_path / "out", **options))


def points(trials: list[TrialRecord]) -> list[tuple[float, float]]:
    return [(t.measurements["l0"], t.measurements["fvu"]) for t in trials]


def by_entries(trials: list[TrialRecord]) -> list[TrialRecord]:
    """Returns trials with the mean number of nonzero code entries as their L0, as a study blind to dense paths would have it."""
    return [replace(t, measurements={**t.measurements, "l0": t.measurements["code_l0"]}) for t in trials]


@pytest.mark.parametrize("where", TRUNKS)
def test_a_dense_trunk_wins_by_entries_of_the_code_and_not_by_effective_l0(where: str, tmp_path: Path) -> None:
    record = run(tmp_path, TRUNK % TRUNKS[where])
    plain = {t.measurements["code_l0"]: t.measurements["fvu"] for t in record.trials if t.baseline}
    trunks = [t for t in record.trials if not t.baseline]
    assert len(trunks) == 2 and len(plain) == 4
    for trial in trunks:  # the trap is real: at as many entries it explains far more
        rivals = [fvu for l0, fvu in plain.items() if l0 <= trial.measurements["code_l0"] * 1.1]
        assert rivals and trial.measurements["fvu"] < 0.7 * min(rivals)
    raw = front(by_entries(record.trials), record.band)
    assert raw[0].baseline is None and sum(t.baseline is None for t in raw) == 2
    honest = front(record.trials, record.band)
    assert honest and all(t.baseline == "topk" for t in honest)
    assert hypervolume(points(honest), record.band) == hypervolume(points(record.trials), record.band)
    told = optuna.load_study(study_name="trunk", storage=database_url(tmp_path / "out")).trials
    assert [t.values[0] for t in told] == [math.log2(t.measurements["code_l0"] + 6) for t in trunks]  # what the sampler learns from


def test_a_dead_sae_stands_nowhere(tmp_path: Path) -> None:
    text = f"""
name: dead
{DATA}
sae:
  width: 32
  graph: {{center: pre_bias, encoder: linear_encoder, gate: {{kind: jumprelu, threshold: 1000.0}}, decoder: linear_decoder}}
  losses: {{sparsity: {{kind: l0, weight: {{float: [1, 10], log: true}}}}}}
  training: {{tokens: 6400, batch: 64, optimizer: {{kind: adam, lr: 0.01}}}}
baselines:
  topk:
    width: 32
    graph: {{center: pre_bias, encoder: linear_encoder, gate: {{kind: topk, k: {{choice: [1, 4]}}}}, decoder: linear_decoder}}
    training: {{tokens: 6400, batch: 64, optimizer: {{kind: adam, lr: 0.01}}}}
study: {{trials: 2, sweep: 2, band: [0.01, 8]}}
"""
    record = run(tmp_path, text)
    alive, dead = ([t for t in record.trials if bool(t.baseline) is kind] for kind in (True, False))
    for trial in dead:
        assert trial.state == "complete" and not feasible(trial, record.band)
        assert trial.measurements["l0"] == 0.0 and trial.measurements["dead_frac"] == 1.0
        assert trial.measurements["fvu"] == pytest.approx(1.0, abs=0.05)
    assert front(record.trials, record.band) == front(alive, record.band) != []
    assert hypervolume(points(dead), record.band) == 0.0
    assert hypervolume(points(record.trials), record.band) == hypervolume(points(alive), record.band) > 0.0
    # Whatever FVU it claimed: nothing of it is paid for in codes.
    assert hypervolume([(0.0, 0.2)], record.band) == 0.0


BY_BATCH = """
name: by-batch
activations: {source: file, path: %s}
sae:
  width: 32
  graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: %s, k: {choice: [2, 4]}}, decoder: linear_decoder}
  training: {tokens: 6400, batch: 64, optimizer: {kind: adam, lr: 0.01}}
study: {trials: 2, sweep: 2, band: [1, 16]}
"""


@pytest.fixture
def loud_and_quiet(tmp_path: Path) -> Path:
    """Rows of very different norm: a batch spends its latents on the loud ones."""
    draw = np.random.default_rng(0)
    rows = (draw.random((5000, 32)) < 0.06) * draw.uniform(0.5, 1.5, (5000, 32)) @ draw.standard_normal((32, 16))
    np.save(tmp_path / "rows.npy", (rows * np.exp(1.5 * draw.standard_normal((5000, 1)))).astype(np.float32))
    return tmp_path / "rows.npy"


def scored(sae: SAE, x: torch.Tensor, rows: int, infer: bool = True) -> tuple[float, float]:
    """Returns L0 and FVU by hand, `rows` rows at a time."""
    with torch.no_grad():
        parts = [sae.signals(sae.scale({"x": part}), infer=infer) for part in x.split(rows)]
        error = torch.cat([x - y for x, y in zip(x.split(rows), [sae.unscale(sae.outputs(part))["x"] for part in parts], strict=True)])
    l0 = sum(float((part["gate.code"] != 0).sum()) for part in parts) / len(x)
    return l0, float(error.double().square().sum() / (x - x.mean(0)).double().square().sum())


@pytest.mark.parametrize("kind", ["batch_topk", "feature_choice"])
def test_a_gate_that_chooses_by_batch_is_scored_row_by_row(kind: str, loud_and_quiet: Path, tmp_path: Path) -> None:
    record = run(tmp_path, BY_BATCH % (loud_and_quiet, kind))
    activations = open_activations(FileSource.model_validate({"source": "file", "path": str(loud_and_quiet)}))
    x = activations.split("validate")["x"].float()
    members = front(record.trials, record.band)
    assert members
    for trial in members:
        sae = load_sae(trial.spec, tmp_path / "out" / "saes" / f"{trial.number}.safetensors", model=16)
        alone, told = scored(sae, x, 1), (trial.measurements["l0"], trial.measurements["fvu"])
        assert told == pytest.approx(alone, rel=1e-4)
        assert scored(sae, x, len(x)) == pytest.approx(alone, rel=1e-4)
        # The very same weights, as a step of training sees these rows, come to other numbers, and to others again by the company kept.
        together, apart = scored(sae, x, len(x), infer=False), scored(sae, x, 1, infer=False)
        assert abs(together[0] / alone[0] - 1) > 0.01 and abs(together[1] / alone[1] - 1) > 0.003
        assert abs(together[1] / apart[1] - 1) > 0.05


TUNED = """
name: tuned
activations: {source: synthetic, features: 48, model: 16, active: 3, rows: 4096, eval_rows: 512}
sae:
  width: 48
  graph: {center: pre_bias, encoder: linear_encoder, gate: jumprelu, decoder: linear_decoder}
  losses: {sparsity: {kind: l0, weight: %s}}
  training: {tokens: 64000, batch: 64, optimizer: {kind: adam, lr: {float: [0.0005, 0.02], log: true}}}
baselines: [topk, relu_l1]
study: {trials: 4, sweep: %s, band: [2, 16], baseline_asks: 3}
"""


@pytest.mark.parametrize("weight, sweep", [("1.0", "{l0: [2, 4, 8, 16]}"), ("{float: [0.1, 10], log: true}", "4")])
def test_baselines_are_swept_and_tuned_like_any_family(weight: str, sweep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    record = run(tmp_path, TUNED % (weight, sweep))
    trained = {t.spec["training"]["tokens"] for t in record.trials}, {t.spec["width"] for t in record.trials}
    assert trained == ({64000}, {48})
    for name in ("topk", "relu_l1"):
        asks: dict[int, list[TrialRecord]] = {}
        for trial in record.trials:
            if trial.baseline == name:
                asks.setdefault(trial.ask, []).append(trial)
        rates = [{t.spec["training"]["optimizer"]["lr"] for t in trials} for trials in asks.values()]
        assert len(asks) == 3 and all(len(found) == 1 for found in rates)  # one structure an ask, as in the search
        drawn = [found.pop() for found in rates]
        assert len(set(drawn)) == 3 and all(0.0005 <= rate <= 0.02 for rate in drawn)
        assert drawn[0] == pytest.approx(math.sqrt(0.0005 * 0.02), rel=0.01)  # the middle of the space's own range, not the recipe's rate
        assert [len({t.run for t in trials}) for trials in asks.values()] == [4, 4, 4]
    if sweep != "4":  # an L0 is the same thing for all: so are the levels
        families = {frozenset(asked(t) for t in record.trials if t.ask == ask) for ask in {t.ask for t in record.trials}}
        assert families == {frozenset({2, 4, 8, 16})}


def asked(trial: TrialRecord) -> float:
    gate = trial.spec["graph"]["gate"]
    return gate["k"] if "k" in gate else trial.spec["controller"]["l0"]


SPELLINGS = {
    "short": "{}",
    "default": "{graph.encoder: {kind: linear_encoder, bias: true}, training.optimizer.beta2: 0.999}",
    "label": "{graph.encoder: null, graph.first: {kind: linear_encoder, from: center}, graph.gate: {kind: topk, from: first}}",
    "order": "{graph.decoder: null, graph.last: {kind: linear_decoder, from: gate}, outputs.x: last}",
    "wire": "{graph.decoder: {kind: linear_decoder, from: gate.code}}",
    "nested": "{graph.encoder: null, graph.gate: null, graph.decoder: {kind: sae, width: 32, from: center, graph: "
    "{encoder: linear_encoder, gate: topk, decoder: linear_decoder}}}",
}
"""One SAE, and ways to write it down that look like another."""

OTHER = {"other": "{graph.encoder: {kind: linear_encoder, bias: false}}"}

PLAIN = """{
  width: 32,
  graph: {center: pre_bias, encoder: linear_encoder, gate: topk, decoder: linear_decoder},
  init: transposed,
  training: %s,
}"""


def spelled(branches: dict[str, str], baselines: str = "{}") -> str:
    """Returns a space of these spellings."""
    training = "{tokens: 1280, batch: 64, optimizer: {kind: adam, lr: 0.01}}"
    return f"""
name: spellings
{DATA}
sae:
  width: 32
  outputs: {{x: decoder}}
  graph: {{center: pre_bias, encoder: linear_encoder, gate: {{kind: topk, from: encoder}}, decoder: {{kind: linear_decoder, from: gate}}}}
  init: transposed
  training: {training}
variants: {{spelling: {{oneof: {{{", ".join(f"{name}: {patch}" for name, patch in branches.items())}}}}}}}
baselines: {baselines.replace("%s", training)}
study: {{trials: 16, sweep: {{l0: [2, 4]}}, band: [1, 8]}}
"""


def rows_of(text: str) -> dict[str, list[TrialRow]]:
    """Returns what the ledger would hold of every branch, at both levels."""
    space, setting = Space.read(loads(text)), Setting(24, "data", "float32")
    found: dict[str, list[TrialRow]] = {}
    for filled in space.corners():
        found.setdefault(str(filled.params["spelling"]), []).append(Draft(0, 0, filled.document, filled.params).row(0, setting))
    return found


def test_one_sae_has_one_run_hash_however_it_is_written() -> None:
    found = rows_of(spelled({**SPELLINGS, **OTHER}))
    assert set(found) == {*SPELLINGS, "other"}
    runs = {name: sorted({row.run for row in rows}) for name, rows in found.items()}
    assert all(len(levels) == 2 for levels in runs.values())
    assert [name for name, levels in runs.items() if levels != runs["short"]] == ["other"]


def test_one_sae_under_many_spellings_is_trained_once(tmp_path: Path) -> None:
    few = {name: SPELLINGS[name] for name in ("short", "label")}
    record = run(tmp_path, spelled({**few, **OTHER}), sampler="random")
    assert {t.params["spelling"] for t in record.trials} == {*few, "other"}
    first = {t.run: t.number for t in reversed(record.trials)}
    assert len(record.trials) == 16 and len(first) == 4  # two SAEs at two levels, across branches and asks
    assert all(t.copied_from == (None if first[t.run] == t.number else first[t.run]) for t in record.trials)
    assert all(t.measurements == record.trials[first[t.run]].measurements for t in record.trials)
    assert sum(map(trained_tokens, record.trials)) == 4 * 1280
    kept = front(record.trials, record.band)
    assert len({t.run for t in kept}) == len(kept) and all(t.copied_from is None for t in kept)


def test_a_baseline_in_other_words_is_no_improvement(tmp_path: Path) -> None:
    few = {name: SPELLINGS[name] for name in ("default", "label")}
    record = run(tmp_path, spelled(few, f"{{plain: {PLAIN}}}"), trials=8)
    assert [t.copied_from for t in record.trials[:2]] == [None, None] and len(record.trials) == 10
    assert all(t.copied_from in (0, 1) for t in record.trials[2:])
    assert {t.baseline for t in front(record.trials, record.band)} == {"plain"}
