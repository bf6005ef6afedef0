"""The rows of a trained dictionary as activations, to train a meta-SAE on."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.activations.data import Activations
from archsearch.activations.dictionary_files import SPEC, WEIGHTS, dictionary_problems, names_of, read_document
from archsearch.activations.headers import block_edges
from archsearch.activations.splits import SPLITS, Split
from archsearch.activations.store import key_of
from archsearch.assembler.build import load_sae
from archsearch.assembler.decoding import by_target, dictionary_of
from archsearch.errors import DataError
from archsearch.spec.activations import DictionarySource

VERSION = 1  # of what is made of an SAE: other rows for the same one need another version
_ORDER_SEED = 0


def open_dictionary(spec: DictionarySource, device: str = "cpu") -> Activations:
    """Returns the rows of a trained SAE's dictionary, one for every latent, each of norm 1.

    A row is what one unit of its latent adds to the outputs, so that any graph of linear decoders will do: its rows are those of all
    dictionaries, in the SAE's order of latents. With several targets a latent has a part of a row for each, under the target's name, and
    the parts together have norm 1. Latents whose row is zero, or not finite, are left out and counted in the provenance (`left_out`).

    Unless `held_out` is set, all four splits hold all rows, so that what is measured says how well a meta-SAE describes the rows it was
    trained on: the published measure ("Showing SAE Latents Are Not Atomic Using Meta-SAEs",
    https://www.lesswrong.com/posts/TMAmHh4DdMr4nCSr5; SAEBench, https://arxiv.org/abs/2503.09532), which says nothing of other rows.

    Raises:
        DataError: the SAE cannot be loaded, its outputs are no sum of dictionary rows, or too few rows are left.
    """
    if problems := dictionary_problems(spec):
        raise DataError("\n".join(problem.what for problem in problems))
    folder = Path(spec.folder)
    sae = load_sae(read_document(spec), folder / WEIGHTS)
    whole = dictionary_of(sae)
    norms = whole.norm(dim=1, keepdim=True)
    used = (norms.isfinite() & (norms > 0)).squeeze(1)
    rows = whole[used] / norms[used]
    splits = _splits(rows, spec.held_out)
    names = names_of(list(sae.graph.outputs))
    recipe = {"dictionary": VERSION, "held_out": spec.held_out, "files": {name: _sha256(folder / name) for name in (SPEC, WEIGHTS)}}
    told = "rows no split shares" if spec.held_out else "every split holds all rows: measurements are of the rows trained on"
    return Activations(
        names=names,
        d_model=sae.graph.model,
        fingerprint=key_of(recipe),
        provenance={**recipe, "folder": spec.folder, "rows": len(rows), "left_out": int((~used).sum()), "splits": told},
        num_rows={split: len(part) for split, part in splits.items()},
        load=lambda split: dict(zip(names, by_target(sae, splits[split]).values(), strict=True)),
        device=device,
    )


def _splits(rows: Float[Tensor, "latent all"], held_out: bool) -> dict[Split, Float[Tensor, "latent all"]]:
    """Returns the rows of each split.

    Raises:
        DataError: too few rows.
    """
    if not held_out:
        if len(rows) < 2:
            raise DataError(f"a meta-SAE needs at least two dictionary rows that are not zero; got {len(rows)}")
        return dict.fromkeys(SPLITS, rows)
    edges = block_edges(len(rows))
    if any(end <= start for start, end in itertools.pairwise(edges)):
        raise DataError(f"{len(rows)} dictionary rows are too few to be cut into four splits; leave out `held_out`")
    # Latents may stand in an order that means something (levels, dictionaries).
    mixed = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(_ORDER_SEED))]
    return {split: mixed[start:end] for split, (start, end) in zip(SPLITS, itertools.pairwise(edges), strict=True)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
