"""One session of a study: walks its asks from the first, doing what is not done yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from archsearch.assembler.parse import parse
from archsearch.errors import InvalidInput, StudyError
from archsearch.search.endings import Ending
from archsearch.search.evolution.evolution import Genome
from archsearch.search.jobs import Draw, Setting
from archsearch.search.ledger import Ledger
from archsearch.search.proposing import Attempt, Make, Proposer
from archsearch.search.records import Place
from archsearch.search.refusals import ILLEGAL, picks
from archsearch.search.runner import Runner
from archsearch.search.sampler import ILLEGAL_DRAW, Sampling
from archsearch.search.tables import GenomeRow, TrialRow
from archsearch.spec.space import Space

DUPLICATES = 20
"""Asks in a row that bring nothing new, after which the next is drawn at random."""

ATTEMPTS = 20
"""Draws of one ask that may turn out illegal before the study gives up."""


class Walk:
    """Walks the asks of a study, as many in flight as the runner's window: one is drawn each time the oldest is at its end.

    So what is known when an ask is drawn is the same however long its neighbours take, and in a study that is resumed.

    `ended`: why the study is over, in words, once it is.
    """

    def __init__(
        self, space: Space, ledger: Ledger, sampling: Sampling, runner: Runner, setting: Setting, ending: Ending, proposer: Proposer
    ):
        self.space, self.ledger, self.sampling, self.runner, self.setting = space, ledger, sampling, runner, setting
        self.proposer, self.ending = proposer, ending
        self.ended = ""
        self.barren = 0
        self.asks: dict[int, list[Place]] = {}

    def run(self, baselines: Mapping[str, dict[str, Any]]) -> bool:
        """Runs every baseline and every ask, or as many as the rules leave time for; returns False if the user stopped it."""
        self._pick_up()
        first = self.proposer.baselines(baselines)
        flying: deque[int] = deque()
        ask = 0
        while True:
            if len(flying) < self.runner.window and self._there(ask, first):
                if not self._done(ask):
                    self.runner.begin(ask, self.ledger.rows(ask))
                flying.append(ask)
                ask += 1
            elif not flying:
                break
            elif self.runner.stop() or not self._finish(flying.popleft()):
                return False
        self.ended = self.ended or f"all {self._searched()} trials done"
        self.runner.close()  # the model may have all cores
        self.runner.splice_best()
        return not self.runner.stop()

    def _there(self, ask: int, first: list[Make]) -> bool:
        """Tells whether there is an ask of that number: one that is written, or else is drawn and written now."""
        if ask in self.asks:
            return True
        if ask < len(first):
            more, make = True, first[ask]
        else:
            left = self.space.study.trials - self._searched()
            randomly = self.barren >= DUPLICATES
            more, make = left > 0, self.proposer.structure(ask, left, randomly, self.runner.known(ask))
        if not more or self._over(ask):
            return False
        self._write(ask, make)
        return True

    def _over(self, ask: int) -> bool:
        """Tells whether a rule ends the study before that ask."""
        self.ended = self.ended or self.ending.reached(self.runner.known(ask))
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
        found: dict[int, list[Place]] = {}
        for place in places:
            found.setdefault(place.ask, []).append(place)
        self.asks |= found

    def _finish(self, ask: int) -> bool:
        """Brings an ask in flight to its end; False if the user stopped it."""
        if not self._done(ask):
            if not self.runner.end(ask):
                return False
            self._note(self.ledger.places([place.number for place in self.asks[ask]]))
            self.ending.save()
        if all(place.baseline is None for place in self.asks[ask]):
            self.barren = self.barren + 1 if all(place.copied_from is not None for place in self.asks[ask]) else 0
        return True

    def _done(self, ask: int) -> bool:
        return all(place.told and place.state != "running" for place in self.asks[ask])

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
        for index in range(ATTEMPTS):
            attempt = Attempt(index)
            first, rows = self.ledger.count(), list[TrialRow]()
            try:
                for draft in make(attempt):
                    rows.append(draft.row(first + len(rows), self.setting))
            except InvalidInput as error:
                told = {"illegal": attempt.asked[-1:], "spare": attempt.asked[:-1], "problem": str(error), "picks": picks(attempt.params)}
                vain.append({"ask": ask, "attempt": index, **told})
                continue
            self.ledger.add_trials(rows, [(ILLEGAL, event) for event in vain], _row(ask, attempt.genome))
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
            self.sampling.tell(number, None, {ILLEGAL_DRAW: event["problem"]})
        self.sampling.forget(event["spare"])


def _row(ask: int, genome: Genome | None) -> GenomeRow | None:
    return None if genome is None else GenomeRow(ask=ask, document=genome.document, parents=[*genome.parents], how=genome.how)
