"""One session of a study: walks its asks from the first, doing what is not done yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from archsearch.assembler.parse import parse
from archsearch.blocks.catalogue import catalogue
from archsearch.errors import InvalidInput, StudyError
from archsearch.search.endings import Ending
from archsearch.search.jobs import Draft, Draw, Setting, baseline_drafts, levels_of
from archsearch.search.ledger import Ledger
from archsearch.search.records import Place
from archsearch.search.refusals import ILLEGAL, picks
from archsearch.search.runner import Runner
from archsearch.search.sampler import Sampling
from archsearch.search.tables import TrialRow
from archsearch.spec.space import Space
from archsearch.spec.template import Template

DUPLICATES = 20
"""Asks in a row that bring nothing new, after which the next is drawn at random."""

ATTEMPTS = 20
"""Draws of one ask that may turn out illegal before the study gives up."""

Make = Callable[[int], Iterable[Draft]]
"""Draws the trials of an ask; the number counts attempts."""


class Walk:
    """Walks the asks of a study; `asks_at_once` of them train as one cohort.

    `ended`: why the study is over, in words, once it is.
    """

    def __init__(
        self, space: Space, ledger: Ledger, sampling: Sampling, runner: Runner, setting: Setting, asks_at_once: int, ending: Ending
    ):
        self.space, self.ledger, self.sampling, self.runner, self.setting = space, ledger, sampling, runner, setting
        self.asks_at_once, self.ending = asks_at_once, ending
        self.ended = ""
        self.fields = catalogue().sparsity
        self.asks: dict[int, list[Place]] = {}
        self.asked: list[int] = []
        self.drawing: Any = None

    def run(self, baselines: Mapping[str, dict[str, Any]]) -> bool:
        """Runs every baseline and every ask, or as many as the rules leave time for; returns False if the user stopped it."""
        self._pick_up()
        first = self._baselines(baselines)
        for ask, make in enumerate(first):
            if ask not in self.asks:
                if self._over():
                    break
                self._write(ask, make)
            if not self._finish([ask]):
                return False
        if not self._search(len(first)):
            return False
        self.ended = self.ended or f"all {self._searched()} trials done"
        self.runner.splice_best()
        return not self.runner.stop()

    def _search(self, ask: int) -> bool:
        """Runs the asks of the search, from the number `ask` on; returns False if the user stopped it."""
        barren = 0
        while self._open(ask) or (self._searched() < self.space.study.trials and not self._over()):
            cohort: list[int] = []
            for number in range(ask, ask + self.asks_at_once):
                if number not in self.asks:
                    if cohort and self._searched() >= self.space.study.trials:
                        break
                    self._write(number, self._structure(number, randomly=barren >= DUPLICATES))
                cohort.append(number)
            if not self._finish(cohort):
                return False
            barren = barren + 1 if all(place.copied_from is not None for number in cohort for place in self.asks[number]) else 0
            ask = cohort[-1] + 1
        return True

    def _over(self) -> bool:
        """Tells whether a rule ends the study here, where every trial that was begun is at its end."""
        self.ended = self.ended or self.ending.reached(list(self.runner.seen.values()))
        return bool(self.ended)

    def _pick_up(self) -> None:
        """Reads where the study stands, and ends in Optuna what a crash left open there."""
        for event in self.ledger.events(ILLEGAL):
            self._settle(event)
        places = self.ledger.places()
        self.sampling.forget_orphans({place.optuna_number for place in places if place.optuna_number is not None})
        self._note(places)
        middle = parse(self.space.fill(Draw(0, 0, {})).document)
        self.runner.rows_left = max(self.runner.planned - self.runner.finished, 0) * middle.training.tokens

    def _note(self, places: list[Place]) -> None:
        self.asks |= {ask: [place for place in places if place.ask == ask] for ask in {place.ask for place in places}}

    def _finish(self, asks: list[int]) -> bool:
        """Brings asks that are written to their end; False if the user stopped it."""
        if self.runner.stop():
            return False
        rows = [row for ask in asks if not self._done(ask) for row in self.ledger.rows(ask)]
        if rows and not self.runner.run(rows):
            return False
        self._note(self.ledger.places([row.number for row in rows]))
        self.ending.save()
        return True

    def _done(self, ask: int) -> bool:
        return all(place.told and place.state != "running" for place in self.asks[ask])

    def _open(self, first: int) -> bool:
        return any(ask >= first and not self._done(ask) for ask in self.asks)

    def _searched(self) -> int:
        return self.ledger.count(searched=True)

    def _write(self, ask: int, make: Make) -> None:
        """Draws the trials of an ask and writes them; an illegal draw is drawn again, the same way in a study that is resumed.

        What was drawn in vain stays open in Optuna until the ask is written: after a crash before that, all of it is forgotten and
        drawn again from the same history.

        Raises:
            StudyError: too many draws in a row were illegal.
        """
        vain: list[dict[str, Any]] = []
        for attempt in range(ATTEMPTS):
            self.asked, self.drawing = [], None
            first, rows = self.ledger.count(), list[TrialRow]()
            try:
                for draft in make(attempt):
                    rows.append(draft.row(first + len(rows), self.setting))
            except InvalidInput as error:
                illegal, spare = self.asked[-1:], self.asked[:-1]
                picked = picks(self.drawing.params) if self.drawing is not None else {}
                vain.append({"ask": ask, "attempt": attempt, "illegal": illegal, "spare": spare, "problem": str(error), "picks": picked})
                continue
            self.ledger.add_trials(rows, [(ILLEGAL, event) for event in vain])
            for event in vain:
                self._settle(event)
            self._note(self.ledger.places(list(range(first, first + len(rows)))))
            return
        raise StudyError(
            f"ask {ask}: {ATTEMPTS} draws in a row were no legal SAE, the last because\n  {vain[-1]['problem']}\n"
            "Narrow the space so that its holes fit together (`archsearch check` shows where they do not), and run it with another `--out`."
        )

    def _settle(self, event: Mapping[str, Any]) -> None:
        """Tells the sampler of an illegal draw, and drops the trials asked along with it."""
        for number in event["illegal"]:
            self.sampling.tell(number, None, {"archsearch:illegal": event["problem"]})
        self.sampling.forget(event["spare"])

    def _baselines(self, trees: Mapping[str, dict[str, Any]]) -> list[Make]:
        """Returns what draws each ask of the baselines, in order."""
        study, found = self.space.study, list[Make]()
        for name, tree in trees.items():
            template = Template.read(tree)
            hole = self.space.sparsity_hole(template.fill(Draw(0, 0, {})), self.fields)
            for index in range(study.baseline_asks):
                found.append(self._baseline(name, template, hole, len(found), index))
        return found

    def _baseline(self, name: str, template: Template, hole: str | None, ask: int, index: int) -> Make:
        study = self.space.study
        return lambda attempt: baseline_drafts(name, template, hole, ask, index + attempt * study.baseline_asks, study.levels, study.seed)

    def _structure(self, ask: int, randomly: bool) -> Make:
        return lambda attempt: self._levels(ask, randomly, attempt)

    def _levels(self, ask: int, randomly: bool, attempt: int) -> Iterator[Draft]:
        """Yields the trials of one structure, at its sparsity levels."""
        trial = self.sampling.ask(ask, randomly, attempt)
        self.asked.append(trial.number)
        self.drawing = trial
        filled = self.space.fill(trial)
        hole = self.space.sparsity_hole(filled, self.fields)
        yield Draft(ask, 0, filled.document, filled.params, None, trial.number)
        if hole is None:
            return
        left = self.space.study.trials - self._searched()
        values = levels_of(self.space.parameters()[hole].hole, filled.params[hole], min(self.space.study.levels, left))
        for level, value in enumerate(values[1:], start=1):
            other = self.sampling.ask_fixed({**filled.params, hole: value})
            self.asked.append(other.number)
            again = self.space.fill(other)
            yield Draft(ask, level, again.document, again.params, None, other.number)
