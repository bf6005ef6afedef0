"""Activations on disk: rows shuffled once, 16-bit, checksummed, whole or absent.

A store is a folder named by the key of its recipe:

    KEY/manifest.json     written last, then the folder is renamed into place
    KEY/train-0.npy       one shard for each split and hook: [rows, model], bfloat16 bits as int16
    KEY/calibrate-0.npy   ...

Values are bfloat16, not float16: residual streams of larger models have components beyond float16's 65,504, and bfloat16 has
float32's range. It rounds a value by at most one part in 256, about 1e-6 of the squared norm of a row. One shard is one file, so
that a consumer maps a split as a single tensor however large it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import BFloat16, Float
from torch import Tensor

from archsearch.activations.splits import SPLITS, Split
from archsearch.errors import DataError

FORMAT = 1
Report = Callable[[str, int, int], None]


def key_of(recipe: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a recipe (plain JSON values), independent of the order of its keys."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True, separators=(",", ":")).encode("utf-8")).hexdigest()


def default_cache() -> Path:
    """Returns `$ARCHSEARCH_CACHE`, else `archsearch` in the user's cache folder."""
    if chosen := os.environ.get("ARCHSEARCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "archsearch"


@dataclass(frozen=True)
class Store:
    """A finished store, its shards checked against the manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def hooks(self) -> tuple[str, ...]:
        return tuple(self.manifest["hooks"])

    @property
    def rows(self) -> dict[Split, int]:
        return self.manifest["rows"]

    def shard(self, split: Split, hook: str) -> BFloat16[Tensor, "batch model"]:
        """Returns the rows of one split at one hook, mapped from disk, not read."""
        # Mode "c" (copy on write) gives torch a writable mapping whose writes never reach the file.
        bits = np.load(self.folder / _shard_name(split, self.hooks.index(hook)), mmap_mode="c", allow_pickle=False)
        return torch.from_numpy(bits).view(torch.bfloat16)


def open_store(folder: Path, report: Report | None = None) -> Store | None:
    """Returns the store in `folder`, or `None` if there is none.

    Raises:
        DataError: when a shard is missing, truncated or altered, or the manifest cannot be read.
    """
    if not folder.exists():
        return None
    advice = f"delete the folder {str(folder)!r} and run again to harvest anew"
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        shards, known = manifest["shards"], manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"an activation store must hold a readable manifest.json: {error}; {advice}") from error
    if known != FORMAT:
        raise DataError(f"an activation store must have format {FORMAT}; {str(folder)!r} has {known!r}; {advice}")
    for done, (name, wanted) in enumerate(sorted(shards.items())):
        path = folder / name
        size = path.stat().st_size if path.is_file() else None
        if size != wanted["bytes"]:
            came = "is missing" if size is None else f"holds {size}"
            raise DataError(f"shard {name!r} must hold {wanted['bytes']} bytes; it {came}; {advice}")
        if _sha256(path) != wanted["sha256"]:
            raise DataError(f"shard {name!r} does not match its checksum, so it was altered after it was written; {advice}")
        if report:
            report("check shards", done + 1, len(shards))
    return Store(folder, manifest)


class StoreWriter:
    """Collects rows in any order of splits into a folder of its own, and puts it in place in one step.

    Use as a context manager: leaving it by an exception removes everything written, so what is in place is always whole.
    """

    def __init__(self, folder: Path, hooks: tuple[str, ...], model: int, rows: Mapping[Split, int], seed: int = 0):
        self.folder, self.hooks, self.model, self.rows = folder, hooks, model, dict(rows)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._work = Path(tempfile.mkdtemp(prefix=f".{folder.name[:16]}-", dir=folder.parent))
        self._filled: dict[Split, int] = dict.fromkeys(SPLITS, 0)
        self._places: dict[Split, Tensor] = {}
        self._maps: dict[tuple[Split, str], np.memmap] = {}
        for number, split in enumerate(SPLITS):
            shuffle = torch.Generator().manual_seed(seed * len(SPLITS) + number)
            self._places[split] = torch.randperm(self.rows[split], generator=shuffle)
            for index, hook in enumerate(hooks):
                self._maps[split, hook] = np.lib.format.open_memmap(
                    self._work / _shard_name(split, index), mode="w+", dtype=np.int16, shape=(self.rows[split], model)
                )

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        self._maps.clear()
        shutil.rmtree(self._work, ignore_errors=True)

    def add(self, split: Split, values: Mapping[str, Float[Tensor, "batch model"]]) -> None:
        """Writes rows of `split` at every hook to their shuffled places; rows beyond the asked number are dropped.

        Raises:
            DataError: when a value is not finite.
        """
        start = self._filled[split]
        count = min(len(values[self.hooks[0]]), self.rows[split] - start)
        places = self._places[split][start : start + count].numpy()
        for hook in self.hooks:
            rows = values[hook][:count].detach().to("cpu", torch.bfloat16)
            bad = (~torch.isfinite(rows).all(1)).nonzero().flatten()
            if len(bad):
                said = f"{len(bad)} of the {split} rows {start} to {start + count - 1} are not, the first is row {start + int(bad[0])}"
                raise DataError(f"activations must be finite; at {hook!r}, {said}")
            self._maps[split, hook][places] = rows.view(torch.int16).numpy()
        self._filled[split] = start + count

    def full(self, split: Split) -> bool:
        """Whether every row asked for has been written."""
        return self._filled[split] >= self.rows[split]

    def commit(self, recipe: Mapping[str, Any]) -> None:
        """Flushes, checksums, writes the manifest and renames the folder into place.

        If another process finished the same store first, its folder stays and this one is dropped.

        Raises:
            DataError: when a split holds fewer rows than it was made for, or none.
        """
        for split in SPLITS:
            if not self.rows[split] or not self.full(split):
                raise DataError(f"split {split!r} must hold {self.rows[split] or 'some'} rows; it got {self._filled[split]}")
        for mapped in self._maps.values():
            mapped.flush()
        self._maps.clear()
        shards = {}
        for path in sorted(self._work.glob("*.npy")):
            _sync(path)
            shards[path.name] = {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        manifest = {
            "format": FORMAT,
            "key": self.folder.name,
            "hooks": list(self.hooks),
            "model": self.model,
            "dtype": "bfloat16",
            "rows": self.rows,
            "recipe": dict(recipe),
            "content": key_of({name: shard["sha256"] for name, shard in shards.items()}),
            "shards": shards,
        }
        (self._work / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        _sync(self._work / "manifest.json")
        _sync(self._work)
        try:
            self._work.rename(self.folder)
        except OSError:
            if not self.folder.exists():
                raise
        _sync(self.folder.parent)


def _shard_name(split: Split, hook: int) -> str:
    return f"{split}-{hook}.npy"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
