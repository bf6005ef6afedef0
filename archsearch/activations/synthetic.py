"""Rows made of known features, so that what a dictionary should find is no secret."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from archsearch.activations.data import Activations
from archsearch.activations.splits import SPLITS, Split
from archsearch.activations.store import key_of
from archsearch.spec.activations import SyntheticSource

VERSION = 1  # of the recipe below: other numbers for the same spec need another version
_CHUNK_ROWS = 8192
_LATER = {"hierarchy": None, "decay": 0.0}  # settings that came after version 1: a recipe without them keeps its fingerprint


def open_synthetic(spec: SyntheticSource, device: str = "cpu") -> Activations:
    """Returns rows `x = sum_i on_i * strength_i * direction_i`, made when first asked for.

    `on_i` is 1 with probability `active / features`, independently; `strength_i` is uniform on [0.5, 1.5]; directions are
    uniform on the unit sphere. Hence the mean row is `active / features` times the sum of the directions. Every
    view (`hooks`) has directions of its own under the same codes. With `decay` the probability falls with the rank of a feature; with a
    `hierarchy` a child is on with probability `child_on` where its parent is on, else never, and its strength is `child_scale` times as
    large. `parents_of` tells the tree.
    """
    names = ("x",) if spec.hooks == 1 else tuple(f"view.{number}" for number in range(spec.hooks))
    drawn = {name: directions(spec, number) for number, name in enumerate(names)}
    settings = {name: value for name, value in spec.model_dump().items() if name not in _LATER or value != _LATER[name]}
    recipe = {"synthetic": VERSION, **settings}
    return Activations(
        names=names,
        d_model=spec.model,
        fingerprint=key_of(recipe),
        provenance=recipe,
        num_rows={split: spec.rows if split == "train" else spec.eval_rows for split in SPLITS},
        load=lambda split: _rows(spec, drawn, split),
        device=device,
        features=drawn,
    )


def codes(spec: SyntheticSource, split: Split, start: int, count: int) -> Float[Tensor, "batch latent"]:
    """Returns the true codes of rows `start` to `start + count` of a split; `start` is a multiple of the chunk of 8,192 rows."""
    chunk, rest = divmod(start, _CHUNK_ROWS)
    assert rest == 0 and count <= _CHUNK_ROWS
    draw = _generator(spec.seed, 2 + SPLITS.index(split), chunk)
    on = _on(spec, torch.rand(count, spec.features, generator=draw))
    strength = 0.5 + torch.rand(count, spec.features, generator=draw)
    return on * (strength if spec.hierarchy is None else strength * mean_strength(spec))


def parents_of(spec: SyntheticSource) -> Int[Tensor, " latent"]:
    """Returns the index of every feature's parent; -1 for parents themselves and for features that stand alone."""
    found = torch.full((spec.features,), -1)
    if (tree := spec.hierarchy) is not None:
        found[tree.parents : tree.features] = torch.arange(tree.parents).repeat_interleave(tree.children)
    return found


def mean_strength(spec: SyntheticSource) -> Float[Tensor, " latent"]:
    """Returns the mean strength of every feature in the rows where it is on: 1, and `child_scale` for children."""
    scale = 1.0 if spec.hierarchy is None else spec.hierarchy.child_scale
    return torch.where(parents_of(spec) >= 0, scale, 1.0)


def directions(spec: SyntheticSource, view: int = 0) -> Float[Tensor, "latent model"]:
    """Returns the true directions of a view, rows of norm 1."""
    drawn = torch.randn(spec.features, spec.model, generator=_generator(spec.seed, 0, view))
    return torch.nn.functional.normalize(drawn, dim=-1)


def _on(spec: SyntheticSource, drawn: Float[Tensor, "batch latent"]) -> Bool[Tensor, "batch latent"]:
    """Returns which features are on, from uniform numbers of their own."""
    tree = spec.hierarchy
    if tree is None and not spec.decay:
        return drawn < spec.active / spec.features
    parents, below = (0, 0) if tree is None else (tree.parents, tree.features)
    commonest, decay = spec.commonest, spec.decay
    roots = drawn[:, :parents] < commonest * _ranks(parents) ** -decay
    lone = drawn[:, below:] < commonest * _ranks(spec.features - below) ** -decay
    if tree is None:
        return lone
    own = drawn[:, parents:below].unflatten(1, (parents, tree.children))
    if tree.exclusive:  # the first child's number chooses one child or none
        own = own[..., :1] - tree.child_on * torch.arange(tree.children)
    child = (own >= 0) & (own < tree.child_on) & roots[..., None]
    return torch.cat([roots, child.flatten(1), lone], 1)


def _ranks(count: int) -> Float[Tensor, " latent"]:
    return torch.arange(1.0, count + 1)


def _rows(spec: SyntheticSource, views: dict[str, Tensor], split: Split) -> dict[str, Float[Tensor, "batch model"]]:
    total = spec.rows if split == "train" else spec.eval_rows
    made = {name: torch.empty(total, spec.model) for name in views}
    for start in range(0, total, _CHUNK_ROWS):
        code = codes(spec, split, start, min(_CHUNK_ROWS, total - start))
        for name, rows in made.items():
            rows[start : start + len(code)] = code @ views[name]
    return made


def _generator(seed: int, stream: int, part: int) -> torch.Generator:
    # Streams are told apart by a hash, since seeds next to each other may give related numbers.
    return torch.Generator().manual_seed(int(key_of({"seed": seed, "stream": stream, "part": part})[:15], 16))
