"""How good is the best of a study? `python -m benchmarks.quality [STUDY]` prints the table and writes benchmarks/quality.json.

At L0 8, 16 and 32 the best held-out FVU of a study of `spaces/gated.yaml` is set against what it must beat: PCA of that rank, a frozen
random dictionary of the same width, the same spec on a quarter of the tokens; and against what is left to gain: topk on ten times the
tokens. All are measured on the same validate rows, at inference.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archsearch.activations import open_activations
from archsearch.assembler.parse import parse
from archsearch.evaluation.metrics import evaluate
from archsearch.recipes import recipe
from archsearch.search.ledger import read_study
from archsearch.search.records import StudyRecord, TrialRecord, feasible
from archsearch.spec.space import Space
from archsearch.spec.yaml import Document
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.memory import keep_memory

LEVELS = (8, 16, 32)


def best_at(record: StudyRecord, level: int) -> TrialRecord | None:
    """Returns the searched trial with the least FVU among those with effective L0 up to 2% above `level`."""
    found = [t for t in record.trials if t.baseline is None and feasible(t, record.band) and t.measurements["l0"] <= 1.02 * level]
    return min(found, key=lambda t: t.measurements["fvu"], default=None)


def pca_fvu(train_rows: Tensor, rows: Tensor, rank: int) -> float:
    """Returns the FVU on `rows` of the best affine map of a rank, fitted on `train_rows` (both [rows, model])."""
    mean = train_rows.double().mean(0)
    centered = train_rows.double() - mean
    _, vectors = torch.linalg.eigh(centered.T @ centered)
    basis = vectors[:, -rank:]
    left = rows.double() - mean
    error = (left - left @ basis @ basis.T).square().sum()
    return float(error / (rows.double() - rows.double().mean(0)).square().sum())


class Trainer:
    """Trains specs as the study did: same data, same precision."""

    def __init__(self, activations: Any, precision: str):
        self.activations, self.precision = activations, precision

    def members(self, documents: list[dict[str, Any]]) -> list[Member]:
        """Returns fresh members of plain specs."""
        data, calibrate = self.activations.split("train"), self.activations.split("calibrate")
        return [start(parse(document), data, calibrate, precision=self.precision) for document in documents]

    def fvu(self, members: list[Member]) -> list[dict[str, float]]:
        """Trains members to the end; returns the FVU and L0 of each on validate rows."""
        train(members, Looped())
        found = [evaluate(member.sae, self.activations.split("validate")) for member in members]
        return [{"fvu": m.fvu, "l0": m.l0} for m in found]


def frozen(members: list[Member]) -> list[Member]:
    """Freezes every dictionary of members where its random start left it."""
    for member in members:
        for dictionary in member.sae.graph.dictionaries:
            for label in dictionary.decoders:
                member.sae.block(label).dictionary.requires_grad_(False)
    return members


def topk(base: dict[str, Any], level: int, times: int = 1) -> dict[str, Any]:
    """Returns the topk recipe at `level`, with the width and batch of `base` and `times` its tokens."""
    document = recipe("topk")
    document["width"] = base["width"]
    document["graph"]["gate"]["k"] = level
    document["training"] |= {"tokens": base["training"]["tokens"] * times, "batch": base["training"]["batch"]}
    return document


def quarter(document: dict[str, Any]) -> dict[str, Any]:
    """Returns a spec on a quarter of its tokens."""
    document = copy.deepcopy(document)
    document["training"]["tokens"] //= 4
    return document


def measure(record: StudyRecord) -> dict[str, Any]:
    """Returns the table as plain data."""
    space = Space.read(Document(record.space))
    activations = open_activations(space.activations)
    trainer = Trainer(activations, record.provenance["precision"])
    rows, held = (next(iter(activations.split(split).values())) for split in ("train", "validate"))
    best = {level: best_at(record, level) for level in LEVELS}
    specs = [trial.spec for trial in best.values() if trial is not None]
    base = specs[0]
    less = trainer.fvu(trainer.members([quarter(spec) for spec in specs]))
    random = trainer.fvu(frozen(trainer.members([topk(base, level) for level in LEVELS])))
    longer = trainer.fvu(trainer.members([topk(base, level, times=10) for level in LEVELS]))
    found = []
    for index, (level, trial) in enumerate(best.items()):
        assert trial is not None, f"the study found nothing at L0 {level}"
        found.append(
            {
                "level": level,
                "best": {"fvu": trial.measurements["fvu"], "l0": trial.measurements["l0"], "words": trial.words},
                "pca": {"fvu": pca_fvu(rows, held, level)},
                "random_dictionary": random[index],
                "quarter": less[index],
                "topk_10x": longer[index],
            }
        )
    return {"study": record.name, "provenance": record.provenance, "levels": found}


def table(data: dict[str, Any]) -> str:
    """Returns the table as Markdown."""
    lines = [
        "| L0 at most | best of the study | PCA of that rank | frozen random dictionary | same spec, 1/4 tokens | topk, 10x tokens |",
        "|---|---|---|---|---|---|",
    ]
    for row in data["levels"]:
        cells = [f"{row[name]['fvu']:.3f}" for name in ("best", "pca", "random_dictionary", "quarter", "topk_10x")]
        lines.append(f"| {row['level']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Prints the table of a finished study and writes it to benchmarks/quality.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", default="studies/gated", type=Path)
    keep_memory()
    data = measure(read_study(parser.parse_args().study))
    Path("benchmarks/quality.json").write_text(json.dumps(data, indent=1) + "\n")
    print(table(data))
    beaten = all(row["best"]["fvu"] < row[name]["fvu"] for row in data["levels"] for name in ("pca", "random_dictionary", "quarter"))
    print("\nThe best beats PCA, the random dictionary and a quarter of the tokens at every level:", "yes" if beaten else "NO")


if __name__ == "__main__":
    main()
