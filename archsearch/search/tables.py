"""The tables that hold the truth about studies, beside Optuna's in the same database.

`archsearch_studies`: one row a study. `archsearch_trials`: one row a trial, written before it trains. `archsearch_rungs`: measurements of
a trial after a share of its run (1.0: the end), one JSON object each. `archsearch_points`: the SAE of a trial cut to a lower L0 after
training, with its measurements. `archsearch_genomes`: where a structure that was bred comes from. `archsearch_events`: what happened, in
order.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Float, ForeignKey, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

FORMAT = 1
"""Version of these tables; a database of another one is refused."""


class Base(DeclarativeBase):
    """Base of the tables."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}


def now() -> datetime:
    """Returns the time, in UTC."""
    return datetime.now(UTC)


class StudyRow(Base):
    """One study: what was asked, fixed at creation."""

    __tablename__ = "archsearch_studies"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    format: Mapped[int] = mapped_column(Integer, default=FORMAT)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    question: Mapped[str] = mapped_column(Text, default="")
    space: Mapped[dict[str, Any]]
    fingerprint: Mapped[str] = mapped_column(String(64))
    settings: Mapped[dict[str, Any]]
    provenance: Mapped[dict[str, Any]]
    command: Mapped[str] = mapped_column(Text, default="")
    planned: Mapped[int] = mapped_column(Integer)
    stopped: Mapped[str] = mapped_column(Text, default="")
    seconds: Mapped[float] = mapped_column(Float, default=0.0)
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)


class TrialRow(Base):
    """One trial: its spec and receipt, and how it ended."""

    __tablename__ = "archsearch_trials"
    __table_args__ = (UniqueConstraint("study_id", "number"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("archsearch_studies.id"))
    number: Mapped[int] = mapped_column(Integer)
    optuna_number: Mapped[int | None] = mapped_column(Integer, nullable=True)
    ask: Mapped[int] = mapped_column(Integer)
    level: Mapped[int] = mapped_column(Integer)
    baseline: Mapped[str | None] = mapped_column(String(200), nullable=True)
    state: Mapped[str] = mapped_column(String(16), default="running")
    spec: Mapped[dict[str, Any]]
    params: Mapped[dict[str, Any]]
    receipt: Mapped[dict[str, Any]]
    words: Mapped[str] = mapped_column(Text)
    arch: Mapped[str] = mapped_column(String(64))
    run: Mapped[str] = mapped_column(String(64), index=True)
    message: Mapped[str] = mapped_column(Text, default="")
    copied_from: Mapped[int | None] = mapped_column(Integer, nullable=True)
    history: Mapped[list[Any]]
    told: Mapped[bool] = mapped_column(default=False)


class RungRow(Base):
    """Measurements of a trial after a share of its run."""

    __tablename__ = "archsearch_rungs"
    __table_args__ = (UniqueConstraint("trial_id", "frac"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("archsearch_trials.id"))
    frac: Mapped[float] = mapped_column(Float)
    measurements: Mapped[dict[str, Any]]


class PointRow(Base):
    """A trial's SAE cut to a lower L0 after its training; databases that are older lack this table."""

    __tablename__ = "archsearch_points"
    __table_args__ = (UniqueConstraint("trial_id", "l0"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    trial_id: Mapped[int] = mapped_column(ForeignKey("archsearch_trials.id"))
    l0: Mapped[float] = mapped_column(Float)
    spec: Mapped[dict[str, Any]]
    run: Mapped[str] = mapped_column(String(64))
    measurements: Mapped[dict[str, Any]]


class GenomeRow(Base):
    """A structure that was bred: its document, the asks it comes from, and how it was made of them, in words."""

    __tablename__ = "archsearch_genomes"
    __table_args__ = (UniqueConstraint("study_id", "ask"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("archsearch_studies.id"))
    ask: Mapped[int] = mapped_column(Integer)
    document: Mapped[dict[str, Any]]
    parents: Mapped[list[Any]]
    how: Mapped[str] = mapped_column(Text)


class EventRow(Base):
    """Something that happened to a study."""

    __tablename__ = "archsearch_events"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("archsearch_studies.id"))
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
    kind: Mapped[str] = mapped_column(String(40))
    told: Mapped[dict[str, Any]]
