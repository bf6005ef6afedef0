"""Rows made of known features, so that what a dictionary should find is no secret."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from archsearch.activations.data import Activations
from archsearch.activations.splits import SPLITS, Split
from archsearch.activations.store import key_of
from archsearch.spec.activations import SyntheticSource

VERSION = 1  # of the recipe below: other numbers for the same spec need another version
_CHUNK_ROWS = 8192


def open_synthetic(spec: SyntheticSource, device: str = "cpu") -> Activations:
    """Returns rows `x = sum_i on_i * strength_i * direction_i`, made when first asked for.

    `on_i` is 1 with probability `active / features`, independently; `strength_i` is uniform on [0.5, 1.5]; directions are
    uniform on the unit sphere. Hence the mean row is `active / features` times the sum of the directions. Every
    view (`hooks`) has directions of its own under the same codes.
    """
    names = ("x",) if spec.hooks == 1 else tuple(f"view.{number}" for number in range(spec.hooks))
    directions = {name: _directions(spec, number) for number, name in enumerate(names)}
    recipe = {"synthetic": VERSION, **spec.model_dump()}
    return Activations(
        names=names,
        d_model=spec.model,
        fingerprint=key_of(recipe),
        provenance=recipe,
        num_rows={split: spec.rows if split == "train" else spec.eval_rows for split in SPLITS},
        load=lambda split: _rows(spec, directions, split),
        device=device,
        features=directions,
    )


def codes(spec: SyntheticSource, split: Split, start: int, count: int) -> Float[Tensor, "batch latent"]:
    """Returns the true codes of rows `start` to `start + count` of a split; `start` is a multiple of the chunk of 8,192 rows."""
    chunk, rest = divmod(start, _CHUNK_ROWS)
    assert rest == 0 and count <= _CHUNK_ROWS
    draw = _generator(spec.seed, 2 + SPLITS.index(split), chunk)
    on = torch.rand(count, spec.features, generator=draw) < spec.active / spec.features
    return on * (0.5 + torch.rand(count, spec.features, generator=draw))


def _rows(spec: SyntheticSource, directions: dict[str, Tensor], split: Split) -> dict[str, Float[Tensor, "batch model"]]:
    total = spec.rows if split == "train" else spec.eval_rows
    made = {name: torch.empty(total, spec.model) for name in directions}
    for start in range(0, total, _CHUNK_ROWS):
        code = codes(spec, split, start, min(_CHUNK_ROWS, total - start))
        for name, rows in made.items():
            rows[start : start + len(code)] = code @ directions[name]
    return made


def _directions(spec: SyntheticSource, view: int) -> Float[Tensor, "latent model"]:
    drawn = torch.randn(spec.features, spec.model, generator=_generator(spec.seed, 0, view))
    return torch.nn.functional.normalize(drawn, dim=-1)


def _generator(seed: int, stream: int, part: int) -> torch.Generator:
    # Streams are told apart by a hash, since seeds next to each other may give related numbers.
    return torch.Generator().manual_seed(int(key_of({"seed": seed, "stream": stream, "part": part})[:15], 16))
