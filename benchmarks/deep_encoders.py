"""Is a deeper encoder worth its FLOPs? `python -m benchmarks.deep_encoders` trains, measures, and writes studies/deep-encoders/.

Every design has a linear decoder and keeps the k largest latents, so that L0 is what is asked for: 16 and 32, on 512k tokens of the
bundled model in batches of 256. Deeper encoders have 512 latents; each is held against a linear one with as many latents, and against a
wider linear one that costs as many FLOPs a token. Gradient pursuit on every trained dictionary tells what its encoder leaves behind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from archsearch.activations import open_activations
from archsearch.evaluation.pursuit import amortisation
from archsearch.recipes import recipe
from archsearch.spec.space import TARGET, Space
from archsearch.training.member import Member
from archsearch.training.memory import keep_memory
from benchmarks.deep_encoders_report import write_report
from benchmarks.grid import Row
from benchmarks.matched import Matched, trained

LEVELS, SEEDS, RATES, TUNED_AT = (16, 32), (0, 1, 2), (0.003, 0.006), (16,)
WIDTH, TOKENS, BATCH = 512, 512_000, 256
MEASURED_ROWS = 4096  # for pursuit, which is slow
ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "studies" / "deep-encoders"

Graph = dict[str, Any]

_TOPK: Graph = {"kind": "topk", "k": 16}
_CENTRE: Graph = {"center": "pre_bias"}
_END: Graph = {"gate": _TOPK, "decoder": {"kind": "linear_decoder", "norm": "unit"}}


def _encoder(kind: str, **settings: Any) -> Graph:
    return {**_CENTRE, "encoder": {"kind": kind, **settings}, **_END}


def _wide(width: int) -> tuple[int, Graph]:
    return width, _encoder("linear_encoder")


DESIGNS: dict[str, tuple[int, Graph]] = {
    "linear": _wide(WIDTH),
    "linear 768": _wide(768),
    "linear 1024": _wide(1024),
    "linear 1536": _wide(1536),
    "glu": (WIDTH, _encoder("glu_encoder")),
    "residual mlp": (WIDTH, _encoder("residual_mlp_encoder", num_blocks=2, hidden=256, activation="gelu")),
    "mlp": (WIDTH, _encoder("mlp_encoder", hidden=512, activation="gelu")),
    "linear + mlp": (
        WIDTH,
        {
            **_CENTRE,
            "shallow": "linear_encoder",
            "deep": {"kind": "mlp_encoder", "hidden": 256, "activation": "gelu", "from": "center"},
            "both": {"kind": "add", "from": ["shallow", "deep"]},
            **_END,
        },
    ),
    "unrolled topk": (
        WIDTH,
        {
            **_CENTRE,
            "encoder": "linear_encoder",
            "first": _TOPK,
            "refine": {"kind": "refine", "eta": 0.3, "learned": True, "from": {"pre": "encoder", "weight": "encoder.weight"}},
            **_END,
        },
    ),
    "lista": (WIDTH, _encoder("lista_encoder", layers=2)),
}
"""Width and graph of every design."""


def document(name: str, rate: float, l0: int, seed: int) -> dict[str, Any]:
    """Returns a design as a spec, with the losses and first weights of the recipe `topk`."""
    width, graph = DESIGNS[name]
    return {**trained(recipe("topk"), rate, seed, TOKENS, BATCH), "graph": graph, TARGET: l0, "width": width}


def main() -> None:
    """Runs what is missing and writes results and report."""
    keep_memory()
    activations = open_activations(Space.load(ROOT / "spaces" / "gated.yaml").activations)
    settings = {"tokens": TOKENS, "batch": BATCH, "widths": {name: width for name, (width, _) in DESIGNS.items()}}
    rows = {name: values[:MEASURED_ROWS] for name, values in activations.split("validate").items()}

    def also(member: Member) -> Row:
        found = amortisation(member.sae, rows)
        return {name: getattr(found, name) for name in ("pursuit_fvu", "refit_fvu", "gap", "values_gap", "support_gap", "pursuit_flops")}

    Matched(FOLDER, list(DESIGNS), document, LEVELS, SEEDS, RATES, TUNED_AT, settings, also).run(activations, write_report)


if __name__ == "__main__":
    main()
