"""What the language model loses to the SAEs a study has kept, measured at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from archsearch.assembler.build import load_sae
from archsearch.assembler.parse import parse
from archsearch.assembler.sae import SAE
from archsearch.search.ledger import Ledger
from archsearch.search.measuring import Measuring
from archsearch.search.records import TrialRecord
from archsearch.search.weights import Weights
from archsearch.training.events import cut


@dataclass(frozen=True)
class Splicing:
    """Puts kept SAEs into the language model one after another; those that are points of one trial are read, and cut, together."""

    ledger: Ledger
    weights: Weights
    measuring: Measuring
    activations: Any
    device: str
    clock: Callable[[], float] = field(default=time.perf_counter)

    def each(self, ones: Sequence[TrialRecord], trials: Mapping[int, TrialRecord]) -> Iterator[tuple[float, float | None]]:
        """Measures SAEs and writes down what was found; who stops listening stops it.

        Args:
            ones: who is measured, points of one trial side by side.
            trials: each trial as it was trained, by number.

        Yields:
            Before each, the share that is done and the seconds left; None before the third, as the first takes longer than the others.
        """
        there = [one for one in ones if self.weights.path(one.number).exists()]
        done, second = 0, 0.0
        for number, group in groupby(there, key=lambda one: one.number):
            alike = list(group)
            for one, sae in zip(alike, self._read(trials[number], alike), strict=True):
                second = self.clock() if done == 1 else second
                yield done / len(there), (self.clock() - second) / (done - 1) * (len(there) - done) if done > 1 else None
                found = self.measuring.spliced(sae)
                if one.cut_to is None:
                    self.ledger.measure(number, found)
                else:
                    self.ledger.measure_point(number, one.cut_to, found)
                done += 1

    def _read(self, trial: TrialRecord, ones: Sequence[TrialRecord]) -> list[SAE]:
        """Returns the SAE of a trial as each of `ones` has it, whole or cut to a point."""
        whole = load_sae(trial.spec, self.weights.path(trial.number), self.activations.d_model, device=self.device)
        specs = [parse(one.spec) for one in ones if one.cut_to is not None]
        points = iter(cut(whole, specs, self.activations.split("calibrate")) if specs else [])
        return [whole if one.cut_to is None else next(points)[0].sae for one in ones]
