"""A database that is locked, read-only, full or damaged: one sentence, and the same command goes on once it is mended."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.exceptions import StorageInternalError
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import Pool

from archsearch.cli.failures import explain
from archsearch.errors import StudyError
from archsearch.search.ledger import DATABASE, Ledger, database_url, read_study
from archsearch.search.records import Status, StudyRecord
from archsearch.search.sampler import Sampling
from archsearch.search.storage_errors import GOES_ON, worded
from archsearch.search.study import Options, run_study
from tests.search.conftest import SPACE
from tests.search.stubs import stub_training
from tests.search.test_study import essence

OPTIONS = Options(precision="float32", device="cpu", trials=6)


@contextmanager
def pragma(*statements: str) -> Iterator[None]:
    """Says `PRAGMA` to every connection that is taken from a pool meanwhile, the study's own and Optuna's."""

    def say(connection: Any, *_: Any) -> None:
        for statement in statements:
            connection.execute(f"PRAGMA {statement}").fetchall()

    event.listen(Pool, "checkout", say)
    try:
        yield
    finally:
        event.remove(Pool, "checkout", say)


@pytest.fixture(autouse=True)
def _impatient() -> Iterator[None]:
    with pragma("busy_timeout = 100"):
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> StudyRecord:
    """What comes of the study if nothing disturbs it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.yaml").write_text(SPACE)
    with pytest.MonkeyPatch.context() as patch:
        stub_training(patch)
        return run_study(folder / "tiny.yaml", replace(OPTIONS, out=folder / "out"))


def at(done: int, do: Callable[[], object]) -> Callable[[Status], None]:
    """Returns an observer that does something once so many trials are done."""
    left = [do]

    def observe(status: Status) -> None:
        if status.done >= done and left:
            left.pop()()

    return observe


Trouble = Callable[[Path, ExitStack], object]


@pytest.fixture
def wrong() -> Iterator[ExitStack]:
    """Holds what is wrong with a database; closing it mends that."""
    with ExitStack() as stack:
        yield stack


def locked(path: Path, wrong: ExitStack) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    wrong.callback(other.close)


def read_only(path: Path, wrong: ExitStack) -> None:
    wrong.enter_context(pragma("query_only = ON"))


def full(path: Path, wrong: ExitStack) -> None:
    with closing(sqlite3.connect(path)) as other:
        pages = other.execute("PRAGMA page_count").fetchone()[0]
    wrong.enter_context(pragma(f"max_page_count = {max(pages, 1)}"))


TROUBLES = {
    locked: "is locked by another program, and stayed so however long it was waited for; end that program",
    read_only: "cannot be written, it is read-only; make the file, its folder and its disk writable",
    full: "is full, or its disk is; free some space",
}


@pytest.mark.parametrize("done", [0, 3])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_a_study_says_what_is_wrong_and_goes_on_once_it_is_mended(
    trouble: Trouble, done: int, space: Path, tmp_path: Path, whole: StudyRecord, wrong: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_training(monkeypatch)
    options, path = replace(OPTIONS, out=tmp_path / "parts"), tmp_path / "parts" / DATABASE
    with pytest.raises(StudyError) as told:
        run_study(space, options, at(done, lambda: trouble(path, wrong)))
    assert str(told.value).startswith(f"{path}: the study's database {TROUBLES[trouble]}") and str(told.value).endswith(GOES_ON)
    assert "\n" not in str(told.value)
    wrong.close()
    assert not done or len([t for t in read_study(path.parent).trials if t.state == "complete"]) >= done
    assert essence(run_study(space, options)) == essence(whole)
    optunas = optuna.load_study(study_name="tiny", storage=database_url(path.parent)).trials
    assert [t.state.name for t in optunas].count("COMPLETE") == 6


@pytest.mark.parametrize("method", ["ask", "tell"])
def test_what_comes_up_through_optuna_is_told_the_same_way(
    method: str, space: Path, tmp_path: Path, whole: StudyRecord, wrong: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_training(monkeypatch)
    original, left = getattr(Sampling, method), [read_only]

    def disturbed(self: Sampling, *args: Any, **kwargs: Any) -> Any:
        if left:
            left.pop()(tmp_path, wrong)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Sampling, method, disturbed)
    options = replace(OPTIONS, out=tmp_path / "parts")
    with pytest.raises(StudyError, match="the study's database cannot be written, it is read-only") as told:
        run_study(space, options)
    assert any(isinstance(error, StorageInternalError) for error in behind(told.value))
    wrong.close()
    assert essence(run_study(space, options)) == essence(whole)


def behind(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_a_database_that_is_damaged_while_a_study_runs(space: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    path = tmp_path / "parts" / DATABASE
    with pytest.raises(StudyError, match=re.escape(f"{path}: cannot be used as a study's database (")) as told:
        run_study(space, replace(OPTIONS, out=tmp_path / "parts"), at(3, lambda: path.write_bytes(b"nothing of the kind" * 9999)))
    message, code = explain(told.value)
    assert code == 1 and message.count("restore that file from a copy, or delete it and run the study anew") == 1
    assert GOES_ON not in message


def test_who_only_looks_is_told_too(space: Path, tmp_path: Path, wrong: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    stub_training(monkeypatch)
    out = tmp_path / "out"
    run_study(space, replace(OPTIONS, out=out, trials=3))
    locked(out / DATABASE, wrong)
    for look in (lambda: read_study(out), lambda: Ledger.open(database_url(out), "tiny")):
        with pytest.raises(StudyError, match=r"study\.db: the study's database is locked by another program") as told:
            look()
        assert GOES_ON not in str(told.value)
    wrong.close()
    assert len(read_study(out).trials) == 6
    with closing(sqlite3.connect(out / DATABASE)) as other:
        other.execute("DROP TABLE archsearch_rungs")
    with pytest.raises(StudyError, match=r"cannot be used as a study's database \(no such table: archsearch_rungs\)"):
        read_study(out)
    (out / DATABASE).write_bytes(b"nothing of the kind" * 999)
    with pytest.raises(StudyError, match=r"study\.db: cannot be used as a study's database \(file is not a database\)"):
        read_study(out)


def test_mistakes_of_ours_and_other_errors_are_not_put_in_words() -> None:
    taken = IntegrityError("insert", {}, sqlite3.IntegrityError("UNIQUE constraint failed"))
    taken.__cause__ = taken.orig
    for error in (taken, ValueError("odd"), StudyError("no")):
        with pytest.raises(type(error)) as told, worded("sqlite:////d/study.db"):
            raise error
        assert told.value is error
