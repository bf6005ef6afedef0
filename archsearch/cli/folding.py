"""Writes trained SAEs of a study with their gates folded into thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from archsearch.assembler.build import load_sae
from archsearch.assembler.fold import fold
from archsearch.assembler.sae import SAE
from archsearch.errors import DataError, InvalidInput, Problem, StudyError
from archsearch.reporting.results import write_json, write_whole
from archsearch.search.records import TrialRecord


def fold_trials(trials: list[TrialRecord], study: Path, into: Path) -> list[Path]:
    """Writes the folded SAE of every trial to `into/NUMBER`; all or none. Returns the folders.

    Raises:
        InvalidInput: an SAE that cannot be folded.
        StudyError: weights that the study did not keep.
    """
    folded = [(into / str(trial.number), *_folded(trial, study)) for trial in trials]
    for folder, spec, sae in folded:
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.contiguous() for name, value in sae.state_dict().items()}
        write_whole(folder / "sae.safetensors", lambda partial, weights=weights: save_file(weights, partial))
        write_json(folder / "spec.json", spec)
    return [folder for folder, *_ in folded]


def _folded(trial: TrialRecord, study: Path) -> tuple[dict[str, Any], SAE]:
    if trial.cut_to is not None:
        what = f"trial {trial.label}: the weights that are kept are those before the cut"
        raise StudyError(f"{what}; export its spec without --fold and train it again")
    number = trial.number if trial.copied_from is None else trial.copied_from
    path = study / "saes" / f"{number}.safetensors"
    if not path.exists():
        what = f"trial {trial.number}: its weights are not kept (a study keeps those of the front and of each baseline's front)"
        raise StudyError(f"{what}; export its spec without --fold and train it again")
    try:
        return fold(trial.spec, load_sae(trial.spec, path, dtype=_dtype(path)))
    except InvalidInput as error:
        raise InvalidInput([Problem(p.what, f"trial {trial.number}: {p.path}".rstrip(": ")) for p in error.problems]) from None


def _dtype(path: Path) -> torch.dtype:
    """Returns the precision weights were kept in.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            kept = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    return torch.float64 if "F64" in kept else torch.float32
