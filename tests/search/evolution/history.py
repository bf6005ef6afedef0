"""Studies of a few seconds: what evolution proposes is written as trials with made-up measurements, and nothing is trained."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from archsearch.blocks.catalogue import catalogue
from archsearch.search.evolution.change import Change, Operator
from archsearch.search.evolution.documents import entry_at
from archsearch.search.evolution.evolution import Evolution, Genome
from archsearch.search.evolution.limits import Limits, Size
from archsearch.search.evolution.material import Material
from archsearch.search.evolution.parent import Parent, parent_of
from archsearch.search.jobs import Draft, Setting
from archsearch.search.records import TrialRecord
from archsearch.spec.activations import BundledSource
from archsearch.spec.hashes import digest
from archsearch.spec.space import TARGET, Space
from archsearch.spec.yaml import Document

MODEL = 16

ANY = Size(10**9, 10**9, 10**9)

LIMITS = Limits(MODEL, (6.0,), BundledSource.model_validate({}), catalogue())

Fvu = Callable[[TrialRecord], float]

SPACE: dict[str, Any] = {
    "name": "tiny",
    "activations": {"source": "synthetic", "features": 48, "model": MODEL, "active": 3, "rows": 4096, "eval_rows": 512},
    "sae": {
        "width": 48,
        "graph": {
            "center": "pre_bias",
            "encoder": "linear_encoder",
            "deep": None,
            "sum": None,
            "gate": "topk",
            "decoder": {"kind": "linear_decoder", "norm": "unit"},
        },
        "training": {"tokens": 25600, "batch": 64, "optimizer": {"kind": "adam", "lr": {"float": [0.001, 0.01], "log": True}}},
    },
    "variants": {
        "encoder": {
            "oneof": {
                "linear": {},
                "mlp": {"graph.encoder": {"kind": "mlp_encoder", "hidden": {"choice": [64, 128]}}},
                "linear_and_mlp": {
                    "graph.deep": {"kind": "mlp_encoder", "hidden": 64, "from": "center"},
                    "graph.sum": {"kind": "add", "from": ["encoder", "deep"]},
                },
            }
        },
        "gate": {
            "oneof": {"topk": {}, "batch_topk": {"graph.gate": "batch_topk"}, "relu": {"graph.gate": "relu", "losses.sparsity": "l1"}}
        },
        "alive": {"oneof": {"nothing": {}, "aux_k": {"losses.dead": "aux_k"}}},
    },
    "study": {"trials": 400, "sweep": {"l0": [6]}, "band": [2, 12]},
}


def space_of(**changed: Any) -> Space:
    """Returns the tiny space, with parts of it changed."""
    return Space.read(Document({**SPACE, **changed}))


def evolution_of(space: Space, seed: int = 0) -> Evolution:
    """Returns the evolution of a space's study."""
    return Evolution(space, MODEL, seed, space.study.band, tuple(space.study.objectives))


def trials_of(genome: Genome, ask: int, first: int, space: Space, fvu: Fvu) -> list[TrialRecord]:
    """Returns the trials of a proposal, at every L0 of the sweep, as a study writes them; each reaches its L0."""
    found = []
    for level, l0 in enumerate(space.study.l0):
        row = Draft(ask, level, {**genome.document, TARGET: l0}, {}).row(first + level, Setting(MODEL, "rows", "float32"))
        trial = TrialRecord(first + level, ask, level, "complete", row.spec, {}, row.words, row.arch, row.run, None, {"l0": float(l0)})
        trial.measurements.update(fvu=fvu(trial), flops=row.receipt["flops"], parameters=row.receipt["parameters"])
        found.append(trial)
    return found


def evolved(space: Space, asks: int, fvu: Fvu, seed: int = 0) -> tuple[list[Genome], list[TrialRecord]]:
    """Returns the proposals of a study's first asks after its baselines, of which nothing is told, and their trials."""
    evolution = evolution_of(space, seed)
    genomes: list[Genome] = []
    trials: list[TrialRecord] = []
    for ask in range(evolution.first, evolution.first + asks):
        genomes.append(evolution.propose(ask, 0, trials))
        trials += trials_of(genomes[-1], ask, len(trials), space, fvu)
    return genomes, trials


def kinds(document: dict[str, Any]) -> list[str]:
    """Returns the kinds of the blocks of a document's graph, and those of the terms of its loss."""
    return [entry["kind"] for part in ("graph", "losses") for entry in document[part].values()]


def parent_from(graph: dict[str, Any], ask: int = 0, **parts: Any) -> Parent:
    """Returns a parent with a graph, the rest of its document being what the tiny space has or what is given."""
    training = {"tokens": 25600, "batch": 64}
    return parent_of(ask, LIMITS.built({"width": 48, "graph": graph, "training": training, **parts}), LIMITS.blocks)


def material_from(*parents: Parent, **more: Any) -> Material:
    """Returns the material that some parents show."""
    material = Material(catalogue(), **more)
    for parent in parents:
        material.add(parent)
    return material


def tried(operator: Operator, parent: Parent, mate: Parent | None = None, material: Material | None = None, draws: int = 1) -> list[Change]:
    """Returns all that an operator makes of a parent, legal or not; of several draws, for what is drawn inside a change."""
    shown = material or material_from(parent, *([mate] if mate else []))
    return [change for seed in range(draws) for change in operator(parent, mate, shown, random.Random(seed))]


def legal(found: list[Change], how: str = "") -> list[Change]:
    """Returns the changes that are legal and whose words begin with `how`, written out and none twice."""
    different = {digest(change.document): change for change in found if change.how.startswith(how)}
    children = [(change.how, LIMITS.legal(change.document, frozenset(), ANY)) for change in different.values()]
    return [Change(words, child.document) for words, child in children if child is not None]


def changes(operator: Operator, parent: Parent, mate: Parent | None = None, material: Material | None = None) -> list[Change]:
    """Returns all that an operator makes of a parent, of one draw, and that is legal, written out."""
    return legal(tried(operator, parent, mate, material))


def one(found: list[Change], how: str) -> dict[str, Any]:
    """Returns the document of the one change that is called so."""
    (document,) = [change.document for change in found if change.how == how]
    return document


def reads(document: dict[str, Any], label: str) -> dict[str, list[str]]:
    """Returns the signals that a block reads, by port."""
    return {port: [wire["signal"] for wire in wires] for port, wires in entry_at(document, label)["from"].items()}


CHAIN: dict[str, Any] = {"center": "pre_bias", "encoder": "linear_encoder", "gate": "topk", "decoder": "linear_decoder"}

SUM: dict[str, Any] = {
    "center": "pre_bias",
    "encoder": "linear_encoder",
    "deep": {"kind": "mlp_encoder", "hidden": 64, "from": "center"},
    "sum": {"kind": "add", "from": ["encoder", "deep"]},
    "gate": "topk",
    "decoder": "linear_decoder",
}
