"""Activations of a language model: the bundled one or any other, harvested once and reused.

The model itself is only opened when there is something to harvest or to splice: importing what runs it takes seconds.
"""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from archsearch import activations
from archsearch.activations.corpus import fingerprint, standard_library
from archsearch.activations.data import Activations
from archsearch.activations.documents import read_documents
from archsearch.activations.plan import Plan
from archsearch.activations.splits import SHARES, SPLITS, Split
from archsearch.activations.store import Report, Store, key_of, open_store
from archsearch.errors import DataError
from archsearch.spec.activations import BundledSource, ModelSource

if TYPE_CHECKING:
    from archsearch.activations.bridge import LanguageModel
    from archsearch.activations.model_windows import ModelWindows
    from archsearch.activations.splice import Splicer

BUNDLED = Path(__file__).parent / "bundled"
SPLICE_TOKENS = 8192
_CHARACTERS_PER_TOKEN = 8  # more than any tokenizer needs on average: how much of a hub dataset to read


def open_bundled(spec: BundledSource, cache: Path, device: str, report: Report | None) -> Activations:
    """Returns activations of the bundled model on the standard library of this interpreter.

    `corpus_is_pinned` in the provenance says whether those are the very files the model was made with; others are no error.
    """
    pinned = json.loads((BUNDLED / "corpus.json").read_text(encoding="utf-8"))["fingerprint"]
    documents = standard_library()
    found = fingerprint(documents)
    about = {
        "source": "bundled",
        "python": platform.python_version(),
        "corpus": found,
        "pinned_corpus": pinned,
        "corpus_is_pinned": found == pinned,
    }
    plan = Plan(str(BUNDLED), spec.hooks, _rows(spec), context=256, batch=16, bos=True, dtype="float32", documents=documents, about=about)
    return _open(plan, cache, device, report)


def open_model(spec: ModelSource, cache: Path, device: str, report: Report | None) -> Activations:
    """Returns activations of a model from a local folder or the hub, on the documents of `spec.data`."""
    rows = _rows(spec)
    needed = max(rows[split] / SHARES[split] for split in SPLITS)
    documents = read_documents(spec.data, spec.column, round(needed * _CHARACTERS_PER_TOKEN))
    about = {"source": "model", "model": spec.model, "data": spec.data}
    plan = Plan(spec.model, spec.hooks, rows, spec.context, spec.batch, spec.bos, spec.dtype, documents, about)
    return _open(plan, cache, device, report)


def _rows(spec: BundledSource | ModelSource) -> dict[Split, int]:
    return {split: spec.tokens if split == "train" else spec.eval_tokens for split in SPLITS}


def _open(plan: Plan, cache: Path, device: str, report: Report | None) -> Activations:
    folder = cache / "activations" / key_of(plan.recipe())
    opened: list[LanguageModel] = []

    def language_model() -> LanguageModel:
        if not opened:
            opened.append(activations.LanguageModel(plan.model, device, plan.dtype))
        return opened[0]

    store = open_store(folder, report)
    if store is None:
        activations.harvest_activations(language_model(), plan, folder, report)
        store = open_store(folder, report)
    if store is None:
        raise DataError(f"the activation store {str(folder)!r} vanished after it was written; is something else emptying the cache?")
    return _opened(plan, store, device, language_model)


def _opened(plan: Plan, store: Store, device: str, language_model: Any) -> Activations:
    names = ("x",) if len(plan.hooks) == 1 else plan.hooks
    hook_of = dict(zip(names, plan.hooks, strict=True))

    def make_splicer(split: Split) -> Splicer:
        model = language_model()
        windows = activations.windows_of(model, plan, split).head(SPLICE_TOKENS)
        means = {name: store.shard("train", hook).mean(dim=0, dtype=torch.float32) for name, hook in hook_of.items()}
        return activations.Splicer(model, hook_of, windows, means)

    def make_windows() -> ModelWindows:
        model = language_model()
        return activations.ModelWindows(model, hook_of, activations.windows_of(model, plan, "train").head(plan.rows["train"]))

    return Activations(
        names=names,
        d_model=store.manifest["model"],
        fingerprint=store.manifest["key"],
        provenance={**plan.about, "recipe": store.manifest["recipe"], "content": store.manifest["content"]},
        num_rows=store.rows,
        load=lambda split: {name: store.shard(split, hook) for name, hook in hook_of.items()},
        device=device,
        make_splicer=make_splicer,
        make_windows=make_windows,
    )
