"""Invented studies for the tests of the report: a large one of real specs, one that means harm, and what a confirmation wrote of one."""

from __future__ import annotations

import copy
import random
from functools import cache
from pathlib import Path
from typing import Any

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.resolved import resolved
from archsearch.assembler.words import in_words
from archsearch.recipes import recipe
from archsearch.reporting.report.data import gather
from archsearch.reporting.report.page import page
from archsearch.search.records import StudyRecord, TrialRecord
from archsearch.spec.yaml import loads

SPACE = """
name: large
question: Which gate gives the best front?
activations: {source: bundled, hook: blocks.1.hook_out}
sae:
  width: 512
  graph: {center: pre_bias, encoder: linear_encoder, gate: relu, decoder: linear_decoder}
  training: {tokens: 256000, batch: 256, optimizer: {kind: adam, lr: {float: [0.001, 0.01], log: true}, beta1: {choice: [0.0, 0.9]}}}
variants:
  gate:
    oneof:
      topk: {graph.gate: {kind: topk, k: {int: [4, 64], log: true}}}
      jumprelu: {graph.gate: jumprelu, losses.sparsity: {kind: l0, weight: {float: [0.1, 3], log: true}}}
      gated:
        graph.gate: {kind: gated, training: {choice: [frozen_decoder, straight_through]}}
        losses.sparsity: {kind: l1, of: gate.gate_code, weight: {float: [1, 8], log: true}}
baselines: [topk, matryoshka_batch_topk]
study: {trials: 24, sweep: 4, band: [4, 64]}
"""

TWO_ENCODERS = """
width: 512
graph:
  center:   pre_bias
  opener:   linear_encoder
  strength: {kind: mlp_encoder, hidden: 256, from: center}
  gate:     {kind: gated, from: {gate: opener, magnitude: strength}}
  decoder:  linear_decoder
losses: {sparsity: {kind: l1, of: gate.gate_code}}
"""

TWO_STAGES = """
width: 1024
graph:
  coarse: {kind: sae, width: 256, graph: {encoder: linear_encoder, gate: {kind: topk, k: 8}, decoder: linear_decoder}}
  rest:   {kind: subtract, from: [x, coarse.reconstruction]}
  fine:   {kind: sae, width: 768, graph: {encoder: linear_encoder, gate: {kind: batch_topk, k: 24}, decoder: linear_decoder}}
  output: {kind: add, from: [coarse.reconstruction, fine.reconstruction]}
"""

EVIL = "</script><script>window.harmed = 1</script><img src=x onerror='window.harmed = 2'> & \" ' `x` \u2028"
"""Text that would run if a page took it for anything but text."""


@cache
def topologies() -> dict[str, dict[str, Any]]:
    """Returns resolved specs of every topology, by name."""
    trees = {name: recipe(name) for name in ("topk", "jumprelu", "gated", "matryoshka_batch_topk", "relu_l1", "prolu")}
    trees |= {"two encoders": loads(TWO_ENCODERS).data, "two stages": loads(TWO_STAGES).data}
    return {name: resolved(assemble(parse(tree), model=64, device="meta")) for name, tree in trees.items()}


def large(count: int = 300) -> StudyRecord:
    """Returns a study of `count` trials with real specs, learning curves of 20 points, failures and trials outside the band."""
    chance = random.Random(1)
    kinds = [name for name in topologies() if name != "relu_l1"]
    trials = [_trial(number, _kind(number, kinds, chance), chance) for number in range(count)]
    return StudyRecord(
        name="large",
        question="Which gate gives the best front?",
        space=loads(SPACE).data,
        objectives=("l0", "fvu"),
        band=(4.0, 64.0),
        trials=trials,
        planned=count,
        stopped="all trials done",
        command="archsearch study --space large.yaml",
        provenance={"machine": {"cores": 2}, "versions": {"torch": "2.13.0"}, "activations": {"fingerprint": "f" * 64}},
        seconds=1234.0,
    )


def _kind(number: int, kinds: list[str], chance: random.Random) -> str:
    return ("topk", "matryoshka_batch_topk")[number % 2] if number < 16 else chance.choice(kinds)


def _trial(number: int, kind: str, chance: random.Random) -> TrialRecord:
    spec = copy.deepcopy(topologies()[kind])
    spec["training"]["tokens"], spec["training"]["batch"] = 256000, 256
    spec["training"]["optimizer"]["lr"] = float(f"{chance.uniform(1e-3, 1e-2):.3g}")
    if "k" in spec["graph"].get("gate", {}):
        spec["graph"]["gate"]["k"] = chance.randint(4, 64)
    l0 = 2 ** chance.uniform(1.5, 6.5)
    fvu = 0.6 * l0**-0.5 * chance.uniform(0.9, 1.3)
    steps = [(50 * i, {"reconstruction": 30 / i + fvu, "sparsity": chance.uniform(1, 2)}) for i in range(1, 21)]
    failed = number % 41 == 40
    found = {"l0": l0, "fvu": fvu, "dead_frac": 0.1, "rows": 16384, "parameters": 131712, "flops": 262144, "seconds": 12.5}
    params = {"gate": kind if kind in ("topk", "jumprelu", "gated") else "topk", "training.optimizer.beta1": chance.choice([0.0, 0.9])}
    return TrialRecord(
        number=number,
        ask=number // 4,
        level=number % 4,
        state="failed" if failed else "complete",
        spec=spec,
        params={} if number < 16 else params,
        words=in_words(spec),
        arch=f"{number:016x}",
        run=f"{number + 1:016x}",
        baseline=kind if number < 16 else None,
        measurements={} if failed else found,
        message="the loss is not finite after 120 steps" if failed else "",
        history=steps[:3] if failed else steps,
    )


def confirmed(study: str = "large") -> dict[str, Any]:
    """Returns the content of a confirm.json: two candidates and a baseline, three seeds each, of which one failed."""

    def rows(height: float) -> list[dict[str, Any]]:
        return [
            {"seed": seed, "asked": l0, "l0": l0 * 1.01, "fvu": height * l0**-0.5 * (1 + 0.01 * seed), "ce_recovered": 0.9}
            for seed in (1, 2, 3)
            for l0 in (8.0, 16.0, 32.0)
        ]

    lost = {"seed": 4, "asked": 8.0, "l0": None, "fvu": None, "failure": "the loss is not finite"}
    contenders = [
        {"name": "gated", "baseline": False, "trial": 20, "words": "gated", "spec": {}, "rows": [*rows(0.55), lost]},
        {"name": EVIL, "baseline": False, "trial": 21, "words": "hostile", "spec": {}, "rows": rows(0.57)},
        {"name": "topk", "baseline": True, "trial": None, "words": "topk", "spec": {}, "rows": rows(0.6)},
    ]
    better = {"percent": -8.3, "low": -9.0, "high": -7.6, "p": 0.001, "p_holm": 0.002, "verdict": "better", "sentence": "gated is better"}
    unknown = {"percent": None, "low": None, "high": None, "p": None, "p_holm": None, "verdict": "not comparable", "sentence": ""}
    return {
        "format": "archsearch-confirm-1",
        "study": study,
        "command": "archsearch confirm large",
        "seeds": [1, 2, 3],
        "tokens": 256000,
        "split": "test",
        "openings": 1,
        "bands": [[8, 16], [16, 32]],
        "contenders": contenders,
        "verdicts": [
            {"candidate": "gated", "baseline": "topk", "band": [8, 16], **better},
            {"candidate": "gated", "baseline": "topk", "band": [16, 32], **unknown},
        ],
        "hypervolume_gain": {"gated": {"mean": 0.1, "low": None, "high": None}},
        "summary": ["gated: better than every baseline at L0 8 to 16", "  adds 0.1 to the hypervolume"],
    }


@cache
def large_page() -> str:
    """Returns the page of the large study."""
    return page(gather(large(), Path("studies/large")))
