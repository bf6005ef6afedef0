"""The ledger of one study: writes what happened before anyone is told, reads it back as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, func, inspect, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from archsearch.errors import StudyError
from archsearch.search.records import Climbed, Place, Point, StudyRecord, TrialRecord
from archsearch.search.refusals import ILLEGAL, refused_branches
from archsearch.search.storage_errors import worded
from archsearch.search.tables import FORMAT, Base, EventRow, GenomeRow, PointRow, RungRow, StudyRow, TrialRow

DATABASE = "study.db"
"""File of a study's database inside its folder."""

AUDITED = "audited"
"""Kind of the events that tell of trials finished though the ladder was to stop them."""

STORAGE = "storage.json"
"""File inside a study's folder that says where its database is, if elsewhere."""


def database_url(folder: Path) -> str:
    """Returns the default storage of a study folder: SQLite, by absolute path."""
    return f"sqlite:///{(folder / DATABASE).absolute()}"


def connect(url: str, write: bool = True) -> Engine:
    """Returns an engine on `url`.

    A writer takes SQLite's lock at the start of a transaction, so that two of them never deadlock; a reader takes none, so that looking
    cannot disturb a running study.
    """
    if url.startswith("postgres"):
        raise StudyError(f"storage must be sqlite:///PATH; got {url!r} (a shared database server is not supported yet)")
    engine = create_engine(url, connect_args={"timeout": 60})
    if not write:
        return engine

    @event.listens_for(engine, "connect")
    def _plain(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _immediate(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


class Ledger:
    """The tables of one study; every method is one transaction."""

    def __init__(self, engine: Engine, study_id: int):
        self.engine, self.study_id = engine, study_id

    @staticmethod
    def open(url: str, name: str) -> Ledger | None:
        """Returns the ledger of the study `name`, or None where there is none yet.

        Raises:
            StudyError: the database cannot be read, or was written by another version.
        """
        engine = connect(url)
        with worded(url):
            Base.metadata.create_all(engine)
            with Session(engine) as session:
                row = session.scalar(select(StudyRow).where(StudyRow.name == name))
        if row is None:
            return None
        if row.format != FORMAT:
            raise StudyError(f"{url}: written in format {row.format}; this version reads format {FORMAT}")
        return Ledger(engine, row.id)

    @staticmethod
    def create(url: str, row: StudyRow, events: Iterable[tuple[str, dict[str, Any]]] = ()) -> Ledger:
        """Writes a new study, with the events (kind and what is told) that led to it, and returns its ledger."""
        engine = connect(url)
        Base.metadata.create_all(engine)
        with Session(engine) as session:
            session.add(row)
            session.flush()
            session.add_all([EventRow(study_id=row.id, kind=kind, told=told) for kind, told in events])
            session.commit()
            return Ledger(engine, row.id)

    def study(self) -> StudyRow:
        """Returns the study's row, detached."""
        with Session(self.engine, expire_on_commit=False) as session:
            row = session.get_one(StudyRow, self.study_id)
            session.expunge(row)
            return row

    def update_study(self, **columns: Any) -> None:
        """Sets columns of the study's row."""
        with Session(self.engine) as session:
            row = session.get_one(StudyRow, self.study_id)
            for name, value in columns.items():
                setattr(row, name, value)
            session.commit()

    def add_trials(
        self, rows: list[TrialRow], events: list[tuple[str, dict[str, Any]]] | None = None, genome: GenomeRow | None = None
    ) -> None:
        """Writes the trials of one ask, before any of them trains, with the events (kind and what is told) that led to them.

        `genome`: where their structure comes from, if it was bred.
        """
        with Session(self.engine) as session:
            added = [*rows, *([] if genome is None else [genome])]
            for row in added:
                row.study_id = self.study_id
            session.add_all(added)
            session.add_all([EventRow(study_id=self.study_id, kind=kind, told=told) for kind, told in events or []])
            session.commit()

    def finish(
        self,
        number: int,
        state: str,
        measurements: dict[str, float],
        message: str = "",
        history: list[Any] | None = None,
        copied_from: int | None = None,
        points: Iterable[Point] = (),
    ) -> None:
        """Writes how a trial ended, with its measurements at the end of the run, and its points."""
        with Session(self.engine) as session:
            row = self._trial(session, number)
            row.state, row.message, row.history, row.copied_from = state, message, list(history or []), copied_from
            if measurements:
                self._rung(session, row.id, 1.0, measurements)
            session.add_all([PointRow(trial_id=row.id, **vars(point) | {"measurements": _clean(point.measurements)}) for point in points])
            session.commit()

    def measure(self, number: int, measurements: dict[str, float], frac: float = 1.0) -> None:
        """Adds measurements to those of a trial after a share of its run."""
        with Session(self.engine) as session:
            self._rung(session, self._trial(session, number).id, frac, measurements)
            session.commit()

    def measure_point(self, number: int, l0: float, measurements: dict[str, float]) -> None:
        """Adds measurements to those of a trial's point."""
        with Session(self.engine) as session:
            trial_id = self._trial(session, number).id
            row = session.scalars(select(PointRow).where(PointRow.trial_id == trial_id, PointRow.l0 == l0)).one()
            row.measurements = {**row.measurements, **_clean(measurements)}
            session.commit()

    def told(self, numbers: list[int]) -> None:
        """Notes that the sampler has been told of these trials."""
        with Session(self.engine) as session:
            for number in numbers:
                self._trial(session, number).told = True
            session.commit()

    def note(self, kind: str, told: dict[str, Any]) -> None:
        """Writes an event."""
        with Session(self.engine) as session:
            session.add(EventRow(study_id=self.study_id, kind=kind, told=told))
            session.commit()

    def events(self, kind: str) -> list[dict[str, Any]]:
        """Returns the events of one kind, in order."""
        with Session(self.engine) as session:
            found = select(EventRow).where(EventRow.study_id == self.study_id, EventRow.kind == kind).order_by(EventRow.id)
            return [row.told for row in session.scalars(found)]

    def rows(self, ask: int | None = None) -> list[TrialRow]:
        """Returns the rows of one ask, or of all, in order of number, detached."""
        query = select(TrialRow).where(TrialRow.study_id == self.study_id).order_by(TrialRow.number)
        if ask is not None:
            query = query.where(TrialRow.ask == ask)
        with Session(self.engine, expire_on_commit=False) as session:
            found = list(session.scalars(query))
            session.expunge_all()
            return found

    def places(self, numbers: list[int] | None = None, run: str | None = None) -> list[Place]:
        """Returns where the trials numbered `numbers`, those of one run, or all, stand, in order of number; reads no JSON."""
        columns = (TrialRow.number, TrialRow.ask, TrialRow.level, TrialRow.state, TrialRow.told, TrialRow.run, TrialRow.baseline)
        query = select(*columns, TrialRow.optuna_number, TrialRow.copied_from).where(TrialRow.study_id == self.study_id)
        if numbers is not None:
            query = query.where(TrialRow.number.in_(numbers))
        if run is not None:
            query = query.where(TrialRow.run == run)
        with Session(self.engine) as session:
            return [Place(*row) for row in session.execute(query.order_by(TrialRow.number))]

    def count(self, searched: bool = False) -> int:
        """Returns the number of trials written; `searched`: without baselines."""
        query = select(func.count()).select_from(TrialRow).where(TrialRow.study_id == self.study_id)
        with Session(self.engine) as session:
            return session.scalar(query.where(TrialRow.baseline.is_(None)) if searched else query) or 0

    def trials(self, numbers: list[int] | None = None) -> list[TrialRecord]:
        """Returns the trials numbered `numbers`, or all, as plain data, in order of number."""
        query = select(TrialRow, RungRow.measurements).outerjoin(RungRow, (RungRow.trial_id == TrialRow.id) & (RungRow.frac == 1.0))
        query = query.where(TrialRow.study_id == self.study_id).order_by(TrialRow.number)
        if numbers is not None:
            query = query.where(TrialRow.number.in_(numbers))
        points = self._points(numbers)
        with Session(self.engine) as session:
            return [_record(row, measurements or {}, points.get(row.number, ())) for row, measurements in session.execute(query)]

    def _points(self, numbers: list[int] | None) -> dict[int, tuple[Point, ...]]:
        """Returns the points of trials by number, each by rising L0."""
        if not self._has_points:
            return {}
        query = select(TrialRow.number, PointRow).join(PointRow, PointRow.trial_id == TrialRow.id)
        query = query.where(TrialRow.study_id == self.study_id).order_by(TrialRow.number, PointRow.l0)
        if numbers is not None:
            query = query.where(TrialRow.number.in_(numbers))
        found: dict[int, tuple[Point, ...]] = {}
        with Session(self.engine) as session:
            for number, row in session.execute(query):
                point = Point(row.l0, row.spec, row.run, _plain(row.measurements))
                found[number] = (*found.get(number, ()), point)
        return found

    @cached_property
    def _has_points(self) -> bool:
        """Whether the database has a table of points: one that is only read may be older than that."""
        return inspect(self.engine).has_table(PointRow.__tablename__)

    def climbed(self) -> Climbed:
        """Returns what was measured before the end of a run, and which trials were finished though they were to be stopped."""
        query = select(TrialRow.number, RungRow.frac, RungRow.measurements).join(RungRow, RungRow.trial_id == TrialRow.id)
        query = query.where(TrialRow.study_id == self.study_id, RungRow.frac < 1.0).order_by(TrialRow.number, RungRow.frac)
        rungs: dict[int, dict[float, dict[str, float]]] = {}
        with Session(self.engine) as session:
            for number, frac, measurements in session.execute(query):
                rungs.setdefault(number, {})[frac] = _plain(measurements)
        return Climbed(rungs, frozenset(told["trial"] for told in self.events(AUDITED)))

    def record(self) -> StudyRecord:
        """Returns the whole study as plain data."""
        row, trials = self.study(), self.trials()
        settings = row.settings
        low, high = settings["band"]
        return StudyRecord(
            name=row.name,
            question=row.question,
            space=row.space,
            objectives=tuple(settings["objectives"]),
            band=(float(low), float(high)),
            trials=trials,
            planned=row.planned,
            stopped=row.stopped,
            command=row.command,
            provenance=row.provenance,
            seconds=row.seconds,
            climbed=self.climbed(),
            refused=refused_branches(self.events(ILLEGAL), [trial.params for trial in trials]),
        )

    def _trial(self, session: Session, number: int) -> TrialRow:
        query = select(TrialRow).where(TrialRow.study_id == self.study_id, TrialRow.number == number)
        return session.scalars(query).one()

    @staticmethod
    def _rung(session: Session, trial_id: int, frac: float, measurements: dict[str, float]) -> None:
        row = session.scalar(select(RungRow).where(RungRow.trial_id == trial_id, RungRow.frac == frac))
        clean = _clean(measurements)
        if row is None:
            session.add(RungRow(trial_id=trial_id, frac=frac, measurements=clean))
        else:
            row.measurements = {**row.measurements, **clean}


def _clean(measurements: dict[str, float]) -> dict[str, float | None]:
    """Returns measurements as JSON can write them: what is not finite as null."""
    return {name: value if math.isfinite(value) else None for name, value in measurements.items()}


def _record(row: TrialRow, measurements: dict[str, Any], points: tuple[Point, ...]) -> TrialRecord:
    return TrialRecord(
        number=row.number,
        ask=row.ask,
        level=row.level,
        state=row.state,
        spec=row.spec,
        params=row.params,
        words=row.words,
        arch=row.arch,
        run=row.run,
        baseline=row.baseline,
        measurements=_plain(measurements),
        message=row.message,
        copied_from=row.copied_from,
        history=[(step, terms) for step, terms in row.history],
        points=points,
    )


def _plain(measurements: dict[str, Any]) -> dict[str, float]:
    """Returns measurements as numbers: what was not finite was written as null."""
    return {name: math.nan if value is None else value for name, value in measurements.items()}


def remember_storage(folder: Path, url: str, name: str) -> None:
    """Notes where a study's database is when it is not in its folder, so that the folder still names the study."""
    if url != database_url(folder):
        (folder / STORAGE).write_text(json.dumps({"storage": url, "study": name}) + "\n", encoding="utf-8")


def storage_of(folder: Path) -> tuple[str, str | None]:
    """Returns the storage of the study in `folder` and the study's name in it (None: the only one).

    Raises:
        StudyError: there is no study.
    """
    note = folder / STORAGE
    if note.is_file():
        told = json.loads(note.read_text(encoding="utf-8"))
        return told["storage"], told["study"]
    if not (folder / DATABASE).is_file():
        raise StudyError(f"{folder}: holds no study (no {DATABASE}); run `archsearch study --space FILE --out {folder}` first")
    return database_url(folder), None


def read_study(folder: Path) -> StudyRecord:
    """Returns the study whose folder is `folder`.

    Raises:
        StudyError: there is none, or it cannot be read.
    """
    url, name = storage_of(folder)
    engine = connect(url, write=False)
    wanted = select(StudyRow.id) if name is None else select(StudyRow.id).where(StudyRow.name == name)
    with worded(url):
        with Session(engine) as session:
            study = session.scalar(wanted)
        if study is None:
            raise StudyError(f"{folder}: holds no study yet")
        return Ledger(engine, study).record()
