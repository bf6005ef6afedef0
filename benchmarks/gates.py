"""Which gate recipe rebuilds best at equal L0? `python -m benchmarks.gates` trains, measures, and writes studies/gates/.

Every gate recipe is brought to effective L0 8, 16, 32 and 64 (`target_l0`) at width 512 on 1M tokens in batches of 512. Its learning rate
is chosen on seed 0 at L0 16; then it is trained with three seeds at each L0. A seed sets first weights and the order of the data, the
same for every recipe, so that differences are taken in pairs. Resumable: finished runs are kept in studies/gates/runs.jsonl.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archsearch.activations import open_activations
from archsearch.recipes import recipe
from archsearch.spec.space import TARGET, Space
from archsearch.training.memory import keep_memory
from benchmarks.gates_report import write_report
from benchmarks.matched import Matched, trained

RECIPES = (
    "relu_l1",
    "relu_l1_april",
    "relu_sqrt",
    "relu_p_annealed",
    "prolu",
    "gated",
    "gated_ri_l1",
    "jumprelu",
    "jumprelu_tanh",
    "topk",
    "abs_topk",
    "groupmax",
    "batch_topk",
    "feature_choice",
    "matryoshka_batch_topk",
)
LEVELS, SEEDS, RATES, TUNED_AT = (8, 16, 32, 64), (0, 1, 2), (0.0015, 0.003, 0.006, 0.012), (16,)
WIDTH, TOKENS, BATCH = 512, 1_000_000, 512
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "studies" / "gates"


def document(name: str, rate: float, l0: int, seed: int) -> dict[str, Any]:
    """Returns a recipe at this study's width and budget, asked for an L0."""
    return {**trained(recipe(name), rate, seed, TOKENS, BATCH), TARGET: l0, "width": WIDTH}


def main() -> None:
    """Runs what is missing and writes results and report."""
    keep_memory()
    activations = open_activations(Space.load(ROOT / "spaces" / "gated.yaml").activations)
    settings = {"width": WIDTH, "tokens": TOKENS, "batch": BATCH}
    Matched(FOLDER, RECIPES, document, LEVELS, SEEDS, RATES, TUNED_AT, settings).run(activations, write_report)


if __name__ == "__main__":
    main()
