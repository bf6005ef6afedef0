"""Runs a language model over documents and puts what it finds at hook points into a store."""

from __future__ import annotations

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from archsearch.activations.bridge import Edit, LanguageModel
from archsearch.activations.plan import SHUFFLE_SEED, WINDOW_SEED, Plan
from archsearch.activations.splits import SPLITS, Split
from archsearch.activations.store import Report, StoreWriter
from archsearch.activations.windows import Windows, cut
from archsearch.errors import DataError


def windows_of(model: LanguageModel, plan: Plan, split: Split) -> Windows:
    """Returns the documents of one split as windows, all of them, in the order in which they are harvested.

    Raises:
        DataError: when the model cannot take windows that long, or the split has no document.
    """
    if plan.context > model.context:
        raise DataError(f"`context` must be at most {model.context}, what model {model.name!r} was built for; got {plan.context}")
    texts = [document.text for document in plan.documents if document.split == split]
    if not texts:
        raise DataError(
            f"every split needs a document; none of {len(plan.documents)} falls to {split!r}; "
            "give more documents (a folder of files, or lines of a .jsonl file)"
        )
    return cut(model.encode(texts), plan.context, model.bos if plan.bos else None, WINDOW_SEED + SPLITS.index(split))


def harvest_activations(model: LanguageModel, plan: Plan, folder: Path, report: Report | None = None) -> None:
    """Writes a new store of the rows that `plan` asks for to `folder`.

    Raises:
        DataError: when a hook is unknown, documents hold too few tokens, hooks differ in width, or values are not finite.
    """
    model.require(plan.hooks)
    windows = {split: _enough(windows_of(model, plan, split), split, plan.rows[split]) for split in SPLITS}
    first = collect(model, next(windows["train"].batches(1)), plan.hooks)
    widths = {hook: value.shape[1] for hook, value in first.items()}
    if len(set(widths.values())) > 1:
        raise DataError(f"hooks read together must have one width; got {widths}")
    done, total = 0, sum(plan.rows.values())
    with StoreWriter(folder, plan.hooks, widths[plan.hooks[0]], plan.rows, SHUFFLE_SEED) as writer:
        for split in SPLITS:
            for part in windows[split].batches(plan.batch):
                writer.add(split, collect(model, part, plan.hooks))
                done += part.num_rows
                if report:
                    report("harvest activations", min(done, total), total)
        writer.commit(plan.recipe())


def _enough(windows: Windows, split: Split, rows: int) -> Windows:
    if windows.num_rows < rows:
        setting = "tokens" if split == "train" else "eval_tokens"
        raise DataError(
            f"the {split} documents must hold at least {rows} tokens, as `{setting}` asks; they hold {windows.num_rows}; "
            "ask for fewer or give more text"
        )
    return windows.head(rows)


def collect(model: LanguageModel, windows: Windows, hooks: tuple[str, ...]) -> dict[str, Float[Tensor, "batch model"]]:
    """Returns the rows of `windows` at each hook, in reading order."""
    counted = windows.counted().to(model.device)
    found: dict[str, Tensor] = {}

    def reader(hook: str) -> Edit:
        def read(value: Tensor) -> None:
            found[hook] = as_rows(hook, value, windows)[counted].float()

        return read

    model.run(windows.tokens, {hook: reader(hook) for hook in hooks}, whole=False)
    return found


def as_rows(hook: str, value: Tensor, windows: Windows) -> Float[Tensor, "window position model"]:
    """Returns the value at a hook point with the axes behind position flattened (heads, for instance).

    Raises:
        DataError: when the value has no vector for each token, as attention patterns have not.
    """
    if value.ndim < 3 or value.shape[:2] != windows.tokens.shape:
        raise DataError(
            f"a hook point must carry one vector for each token; {hook!r} carries shape {tuple(value.shape)} "
            f"for {tuple(windows.tokens.shape)} tokens"
        )
    return value.flatten(2)
