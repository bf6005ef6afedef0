"""Weights a study keeps: of its front, and of each baseline's own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from archsearch.assembler.sae import SAE
from archsearch.search.records import TrialRecord, whole_front


@dataclass(frozen=True)
class Weights:
    """The folder of kept weights, one file a trial; the rest can be trained again from their specs."""

    folder: Path

    def path(self, number: int) -> Path:
        """Returns where a trial's weights are, if they are kept."""
        return self.folder / f"{number}.safetensors"

    def keep(self, number: int, sae: SAE) -> None:
        """Writes the weights of a trial, whole or not at all."""
        path = self.path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        save_file({name: value.detach().cpu().contiguous() for name, value in sae.state_dict().items()}, partial)
        partial.replace(path)

    def prune(self, kept: Collection[int]) -> None:
        """Deletes the weights of all other trials."""
        for path in self.folder.glob("*.safetensors"):
            if path.stem.isdigit() and int(path.stem) not in kept:
                path.unlink()


def best(trials: list[TrialRecord], band: tuple[float, float], objectives: tuple[str, ...]) -> list[TrialRecord]:
    """Returns who stands on the front, or on a baseline's own, points among them, in order of number.

    Fronts are those of L0 and FVU, which reports show, and of the objectives asked for.
    """
    groups = [trials, *([t for t in trials if t.baseline == name] for name in {t.baseline for t in trials if t.baseline})]
    kinds = {("l0", "fvu"), objectives}
    found = {(one.number, one.cut_to or 0.0): one for group in groups for kind in kinds for one in whole_front(group, band, kind)}
    return [found[key] for key in sorted(found)]
