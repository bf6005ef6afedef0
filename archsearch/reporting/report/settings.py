"""What a study was created with, read out of its database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from archsearch.search.ledger import connect, storage_of
from archsearch.search.tables import StudyRow


def read_settings(folder: Path, name: str) -> dict[str, Any]:
    """Returns the settings fixed when the study `name` in `folder` was created: sampler, seed, executor, precision, ...

    Raises:
        StudyError: there is no study.
    """
    url, _ = storage_of(folder)
    with Session(connect(url, write=False)) as session:
        return dict(session.scalar(select(StudyRow.settings).where(StudyRow.name == name)) or {})
