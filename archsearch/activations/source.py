"""The front door: a spec goes in, opened activations come out."""

from __future__ import annotations

from pathlib import Path

from archsearch import activations
from archsearch.activations.data import Activations
from archsearch.activations.splits import SPLITS
from archsearch.activations.store import Report, default_cache
from archsearch.errors import DataError
from archsearch.spec.activations import ActivationsSpec, BundledSource, DictionarySource, FileSource, ModelSource, SyntheticSource

_PART_ROWS = 65_536


def open_activations(spec: ActivationsSpec, *, cache: Path | None = None, device: str = "cpu", report: Report | None = None) -> Activations:
    """Returns the activations that `spec` describes, harvesting them first where no store holds them yet.

    Args:
        spec: one of the five sources.
        cache: folder of the stores; default `$ARCHSEARCH_CACHE`, else `archsearch` in the user's cache folder.
        device: where the model runs and where rows are kept when they fit.
        report: called with (what, done, total) while work goes on.

    Raises:
        DataError: when activations are missing, empty, damaged or not finite, with what to do about it.
    """
    return _varying(_opened(spec, default_cache() if cache is None else cache, device, report))


def _opened(spec: ActivationsSpec, cache: Path, device: str, report: Report | None) -> Activations:
    match spec:  # the openers are lazy names of the package: a synthetic source must not import a model library
        case BundledSource():
            return activations.open_bundled(spec, cache, device, report)
        case ModelSource():
            return activations.open_model(spec, cache, device, report)
        case FileSource():
            return activations.open_file(spec, device)
        case SyntheticSource():
            return activations.open_synthetic(spec, device)
        case DictionarySource():
            return activations.open_dictionary(spec, device)


def _varying(opened: Activations) -> Activations:
    """Returns the activations if their rows differ: of rows all alike no variance can be explained.

    Raises:
        DataError: all rows of a split are the same, at one of the hook points.
    """
    if opened.features is not None:
        return opened  # synthetic rows are random, and not made before they are asked for
    for split in SPLITS:
        for name, rows in opened.load(split).items():
            if len(rows) > 1 and not any((part != rows[:1]).any() for part in rows.split(_PART_ROWS)):
                what = "zero" if not rows[0].any() else "the same"
                raise DataError(f"activations have no variance: all {len(rows)} rows of {split} are {what} at {name!r}")
    return opened
