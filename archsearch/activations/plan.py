"""What to harvest, in one vocabulary for every source with a model, and the recipe that names the result."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archsearch import activations
from archsearch.activations.corpus import Document, fingerprint
from archsearch.activations.splits import SHARES, Split

VERSION = 1  # of what these modules do with a plan: other rows for the same plan need another version
WINDOW_SEED = 0
SHUFFLE_SEED = 0
_PARTS_OF_A_MODEL = frozenset({".json", ".safetensors", ".bin", ".model", ".txt", ".jinja"})
_ABOUT_A_MODEL = frozenset({"corpus.json", "figures.json", "training.json"})


@dataclass(frozen=True)
class Plan:
    """A bundled or a model source, ready to harvest; `about` is what a receipt says beside the recipe."""

    model: str
    hooks: tuple[str, ...]
    rows: dict[Split, int]
    context: int
    batch: int
    bos: bool
    dtype: str
    documents: Sequence[Document]
    about: dict[str, Any]

    def recipe(self) -> dict[str, Any]:
        """Returns everything that decides the rows, as plain JSON values; `batch` and the device only decide their last bit."""
        return {
            "version": VERSION,
            "model": model_fingerprint(self.model),
            "hooks": list(self.hooks),
            "data": fingerprint(self.documents),
            "rows": self.rows,
            "context": self.context,
            "bos": self.bos,
            "dtype": self.dtype,
            "shares": SHARES,
            "seeds": {"windows": WINDOW_SEED, "shuffle": SHUFFLE_SEED},
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "transformer-lens")},
        }


def model_fingerprint(name: str) -> str:
    """Returns a SHA-256 over the files of a local model folder, or the name and commit of a model on the hub."""
    folder = Path(name)
    if not folder.is_dir():
        return f"{name}@{activations.hub_commit(name)}"
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _PARTS_OF_A_MODEL and path.name not in _ABOUT_A_MODEL:
            with path.open("rb") as file:
                digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
