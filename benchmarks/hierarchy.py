"""What do levels cost in FVU, and buy? `python -m benchmarks.hierarchy` trains, measures, and writes studies/hierarchy/.

Rows are made of 40 families of a parent and four children, and of as many features that stand alone as make 240; a child is on only with
its parent, at most one of them. Flat and hierarchical SAEs of as many latents as there are features are brought to L0 4, 6 and 9 (six
features are on in a mean row), with five seeds. What they found is measured against the truth: F1 of parents and of children, MCC, and
absorption as planted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archsearch.activations import open_activations
from archsearch.evaluation.recovery import recovery_of
from archsearch.recipes import recipe
from archsearch.spec.activations import SyntheticSource
from archsearch.spec.space import TARGET
from archsearch.training.member import Member
from archsearch.training.memory import keep_memory
from benchmarks.grid import Row
from benchmarks.hierarchy_report import write_report
from benchmarks.matched import Matched, trained

LEVELS, SEEDS, RATES, TUNED_AT = (4, 6, 9), (0, 1, 2, 3, 4), (0.001, 0.002, 0.004, 0.008), (6,)
TOKENS, BATCH = 1_024_000, 512
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "studies" / "hierarchy"

FAMILIES, CHILDREN, FEATURES = 40, 4, 240
SOURCE = SyntheticSource.model_validate(
    {
        "source": "synthetic",
        "features": FEATURES,
        "model": 96,
        "active": 6,
        "decay": 0.5,
        "hierarchy": {"parents": FAMILIES, "children": CHILDREN, "child_on": 0.2, "exclusive": True},
        "rows": 300_000,
    }
)

Tree = dict[str, Any]


def _with(name: str, graph: Tree, losses: Tree) -> Tree:
    """Returns a recipe with blocks put into its graph, before the decoder, and losses beside its own."""
    tree = recipe(name)
    before = {label: block for label, block in tree["graph"].items() if label != "decoder"}
    return {**tree, "graph": {**before, **graph, "decoder": tree["graph"]["decoder"]}, "losses": {**tree.get("losses", {}), **losses}}


_MEAN = {"reconstruction": {"kind": "squared_error", "levels": "mean"}}

DESIGNS: dict[str, Tree] = {
    "relu_l1": recipe("relu_l1"),
    "topk": recipe("topk"),
    "batch_topk": recipe("batch_topk"),
    "ort_sae": recipe("ort_sae"),
    "matryoshka": recipe("matryoshka_batch_topk"),
    "matryoshka, one prefix": _with("batch_topk", {"level": {"kind": "matryoshka", "prefixes": [1 / (1 + CHILDREN)]}}, _MEAN),
    "matryoshka, random": _with("batch_topk", {"level": {"kind": "random_matryoshka", "prefixes": 5}}, _MEAN),
    "tree_topk": _with("topk", {"gate": {"kind": "tree_topk", "k": 6, "children": CHILDREN}}, {}),
    "tree_topk, parents judged": _with(
        "topk",
        {
            "gate": {"kind": "tree_topk", "k": 6, "children": CHILDREN},
            "level": {"kind": "matryoshka", "prefixes": [1 / (1 + CHILDREN)]},
        },
        {"reconstruction": {"kind": "squared_error", "level_weights": [0.1, 1.0]}},
    ),
}
"""Published recipes as they are, and designs told the shape of the families (one prefix, tree_topk)."""


def document(name: str, rate: float, l0: int, seed: int) -> dict[str, Any]:
    """Returns a design at this study's width and budget, asked for an L0."""
    return {**trained(DESIGNS[name], rate, seed, TOKENS, BATCH), TARGET: l0, "width": FEATURES}


def main() -> None:
    """Runs what is missing and writes results and report."""
    keep_memory()
    settings = {"width": FEATURES, "tokens": TOKENS, "batch": BATCH, "activations": SOURCE.model_dump(mode="json")}

    def also(member: Member) -> Row:
        found = recovery_of(member.sae, SOURCE).as_dict()
        return {name: value for name, value in found.items() if name != "rows"}

    Matched(FOLDER, list(DESIGNS), document, LEVELS, SEEDS, RATES, TUNED_AT, settings, also).run(open_activations(SOURCE), write_report)


if __name__ == "__main__":
    main()
