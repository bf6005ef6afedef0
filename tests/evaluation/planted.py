"""SAEs put together by hand: of every true feature, what its latent listens to and what it says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archsearch.activations.synthetic import directions, parents_of
from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.sae import SAE
from archsearch.spec.activations import SyntheticSource

TREE = {"parents": 3, "children": 2, "child_on": 0.4}


def source(**changes: Any) -> SyntheticSource:
    tree = {key: changes.pop(key) for key in ("child_scale", "exclusive") if key in changes}
    settings = {"source": "synthetic", "features": 11, "model": 24, "active": 3.0, "eval_rows": 3000, "rows": 9000}
    return SyntheticSource.model_validate({**settings, "hierarchy": {**TREE, **tree}, **changes})


def document(width: int) -> dict[str, Any]:
    return {
        "width": width,
        "scale": {"kind": "scaling", "power": 0},
        "graph": {"encoder": "linear_encoder", "gate": "relu", "decoder": {"kind": "linear_decoder", "norm": "free"}},
        "losses": {"sparsity": {"kind": "l1", "weight": 0.1}},
        "training": {"tokens": 1024, "batch": 16},
    }


@torch.no_grad()
def by_hand(listens: Tensor, says: Tensor, spec: SyntheticSource) -> SAE:
    """Returns an SAE whose latent `i` is `relu(listens[i] @ true code - 0.1)` and whose row `i` is `says[i] @ true directions`."""
    truth = directions(spec).double()
    sae = assemble(parse(document(len(listens))), model=spec.model, dtype=torch.float64).sae
    sae.block("encoder").weight.copy_(listens.double() @ torch.linalg.pinv(truth).T)
    sae.block("encoder").bias.fill_(-0.1)
    sae.block("decoder").dictionary.copy_(says.double() @ truth)
    return sae


def absorbing(spec: SyntheticSource, share: float = 1.0) -> tuple[Tensor, Tensor]:
    """Returns what latents listen to and say where every child says `share` of its parent too and silences its latent."""
    listens, says = torch.eye(spec.features), torch.eye(spec.features)
    scale = 1.0 if spec.hierarchy is None else spec.hierarchy.child_scale
    for child, parent in enumerate(parents_of(spec).tolist()):
        if parent >= 0:
            listens[parent, child] = -10 / scale
            says[child, parent] = share / scale
    return listens, says
