"""The front door: a spec goes in, opened activations come out."""

from __future__ import annotations

from pathlib import Path

from archsearch import activations
from archsearch.activations.data import Activations
from archsearch.activations.store import Report, default_cache
from archsearch.spec.activations import ActivationsSpec, BundledSource, FileSource, ModelSource, SyntheticSource


def open_activations(spec: ActivationsSpec, *, cache: Path | None = None, device: str = "cpu", report: Report | None = None) -> Activations:
    """Returns the activations that `spec` describes, harvesting them first where no store holds them yet.

    Args:
        spec: one of the four sources.
        cache: folder of the stores; default `$ARCHSEARCH_CACHE`, else `archsearch` in the user's cache folder.
        device: where the model runs and where rows are kept when they fit.
        report: called with (what, done, total) while work goes on.

    Raises:
        DataError: when activations are missing, empty, damaged or not finite, with what to do about it.
    """
    cache = default_cache() if cache is None else cache
    match spec:  # the openers are lazy names of the package: a synthetic source must not import a model library
        case BundledSource():
            return activations.open_bundled(spec, cache, device, report)
        case ModelSource():
            return activations.open_model(spec, cache, device, report)
        case FileSource():
            return activations.open_file(spec, device)
        case SyntheticSource():
            return activations.open_synthetic(spec, device)
