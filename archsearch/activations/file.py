"""Activations computed elsewhere, read from .npy or .safetensors files."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from archsearch.activations.data import Activations
from archsearch.activations.headers import block_edges, file_problems
from archsearch.activations.splits import SPLITS, Split
from archsearch.activations.store import key_of
from archsearch.errors import DataError
from archsearch.spec.activations import FileSource

Named = dict[str, Tensor]
"""Tensors by name; their headers have been checked."""

_PART_ROWS = 65_536


def open_file(spec: FileSource, device: str = "cpu") -> Activations:
    """Returns the rows of one file cut into four blocks, or of one file for each split.

    Raises:
        DataError: when a file is missing or unreadable, or a tensor is not 2-D, empty, not finite, or does not match the others.
    """
    if problems := file_problems(spec):
        raise DataError("\n".join(problem.what for problem in problems))
    files = {"all": spec.path} if spec.path else {split: (spec.paths or {})[split] for split in SPLITS}
    read = {key: _read(Path(path), spec.hooks) for key, path in files.items()}
    hooks = tuple(next(iter(read.values())))
    for path, tensors in zip(files.values(), read.values(), strict=True):
        _check(path, tensors)
    by_split = _blocks(read["all"]) if spec.path else {split: read[split] for split in SPLITS}
    names = ("x",) if len(hooks) == 1 else hooks
    recipe = {"file": {key: _sha256(Path(path)) for key, path in files.items()}, "hooks": list(hooks)}
    return Activations(
        names=names,
        d_model=read[next(iter(read))][hooks[0]].shape[1],
        fingerprint=key_of(recipe),
        provenance={**recipe, "paths": files},
        num_rows={split: len(by_split[split][hooks[0]]) for split in SPLITS},
        load=lambda split: dict(zip(names, by_split[split].values(), strict=True)),
        device=device,
    )


def _read(path: Path, wanted: tuple[str, ...]) -> Named:
    if path.suffix == ".npy":
        return {"x": torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))}
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in wanted or file.keys()}


def _check(path: str, tensors: Named) -> None:
    for name, rows in tensors.items():
        bad = [start + place for start, part in _parts(rows) for place in (~part.isfinite().all(1)).nonzero().flatten().tolist()]
        if bad:
            count = f"{len(bad)} of its {len(rows)} rows hold" if len(bad) > 1 else f"one of its {len(rows)} rows holds"
            raise DataError(f"activations must be finite; {name!r} in {path!r}: {count} NaN or infinity, the first is row {bad[0]}")


def _parts(rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(rows), _PART_ROWS):
        yield start, rows[start : start + _PART_ROWS]


def _blocks(tensors: Named) -> dict[Split, Named]:
    edges = block_edges(len(next(iter(tensors.values()))))
    places = zip(SPLITS, itertools.pairwise(edges), strict=True)
    return {split: {name: rows[start:end] for name, rows in tensors.items()} for split, (start, end) in places}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
