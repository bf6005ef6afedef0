"""Activations computed elsewhere, read from .npy or .safetensors files."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from archsearch.activations.data import Activations
from archsearch.activations.splits import SHARES, SPLITS, Split
from archsearch.activations.store import key_of
from archsearch.errors import DataError, nearest
from archsearch.spec.activations import FileSource

Named = dict[str, Tensor]
"""Tensors by name; whether they are [rows, model] is what `_check` finds out."""


def open_file(spec: FileSource, device: str = "cpu") -> Activations:
    """Returns the rows of one file cut into four blocks, or of one file for each split.

    Raises:
        DataError: when a file is missing or unreadable, or a tensor is not 2-D, empty, not finite, or does not match the others.
    """
    files = {"all": spec.path} if spec.path else {split: (spec.paths or {})[split] for split in SPLITS}
    read = {key: _read(Path(path), spec.hooks) for key, path in files.items()}
    hooks = tuple(next(iter(read.values())))
    for path, tensors in zip(files.values(), read.values(), strict=True):
        _check(path, tensors, hooks)
    by_split = _blocks(files["all"], read["all"]) if spec.path else {split: read[split] for split in SPLITS}
    widths = {tensors[hook].shape[1] for tensors in by_split.values() for hook in hooks}
    if len(widths) > 1:
        raise DataError(f"all tensors must have one width; {', '.join(files.values())} have widths {sorted(widths)}")
    names = ("x",) if len(hooks) == 1 else hooks
    recipe = {"file": {key: _sha256(Path(path)) for key, path in files.items()}, "hooks": list(hooks)}
    return Activations(
        names=names,
        d_model=widths.pop(),
        fingerprint=key_of(recipe),
        provenance={**recipe, "paths": files},
        num_rows={split: len(by_split[split][hooks[0]]) for split in SPLITS},
        load=lambda split: dict(zip(names, by_split[split].values(), strict=True)),
        device=device,
    )


def _read(path: Path, wanted: tuple[str, ...]) -> Named:
    if not path.is_file():
        raise DataError(f"an activation file must exist; {str(path)!r} does not")
    if path.suffix == ".npy":
        if wanted:
            raise DataError(f"a .npy file holds one tensor without a name; remove `hook: {list(wanted)}` for {str(path)!r}")
        return {"x": _read_npy(path)}
    if path.suffix == ".safetensors":
        return _read_safetensors(path, wanted)
    raise DataError(f"an activation file must end in .npy or .safetensors; got {str(path)!r}")


def _read_npy(path: Path) -> Tensor:
    try:
        array = np.load(path, mmap_mode="c", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{str(path)!r} must be a .npy file of numbers: {error}") from error
    if array.dtype not in (np.float16, np.float32, np.float64):
        raise DataError(f"{str(path)!r} must hold floats of 16, 32 or 64 bits; it holds {array.dtype}")
    return torch.from_numpy(array)


def _read_safetensors(path: Path, wanted: tuple[str, ...]) -> Named:
    try:
        with safe_open(path, framework="pt") as file:
            held = list(file.keys())
            if not wanted and len(held) != 1:
                raise DataError(f"{str(path)!r} must hold one tensor, or `hook` must name which; it holds: {', '.join(sorted(held))}")
            for name in wanted:
                if name not in held:
                    raise DataError(f"{str(path)!r} has no tensor {name!r}; {nearest(name, held)}")
            return {name: file.get_tensor(name) for name in wanted or held}
    except SafetensorError as error:
        raise DataError(f"{str(path)!r} must be a safetensors file: {error}") from error


def _check(path: str, tensors: Named, hooks: tuple[str, ...]) -> None:
    if tuple(tensors) != hooks:
        raise DataError(f"files of different splits must hold the same tensors; {path!r} holds {list(tensors)}, not {list(hooks)}")
    for name, rows in tensors.items():
        if rows.ndim != 2 or 0 in rows.shape:
            raise DataError(f"activations must be 2-D [rows, model] and not empty; {name!r} in {path!r} has shape {tuple(rows.shape)}")
        if not rows.is_floating_point():
            raise DataError(f"activations must be floats; {name!r} in {path!r} is {rows.dtype}")
        if any(not torch.isfinite(part).all() for part in rows.split(65_536)):
            raise DataError(f"activations must be finite; {name!r} in {path!r} holds NaN or infinity")
    if len({len(rows) for rows in tensors.values()}) > 1:
        raise DataError(f"tensors read together must have as many rows as each other; {path!r} has differing ones")


def _blocks(path: str, tensors: Named) -> dict[Split, Named]:
    total = len(next(iter(tensors.values())))
    edges, share = [0], 0.0
    for split in SPLITS:
        share += SHARES[split]
        edges.append(round(share * total))
    if any(end <= start for start, end in itertools.pairwise(edges)):
        raise DataError(f"{path!r} holds {total} rows, too few to be cut into four splits; give more rows, or `paths`")
    places = zip(SPLITS, edges[:-1], edges[1:], strict=True)
    return {split: {name: rows[start:end] for name, rows in tensors.items()} for split, start, end in places}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
