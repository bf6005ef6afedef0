"""Documents from a folder, a file or a hub dataset."""

from __future__ import annotations

import json
from pathlib import Path

from archsearch import activations
from archsearch.activations.corpus import Document, read_text
from archsearch.errors import DataError

SUFFIXES = (".txt", ".md", ".py", ".jsonl")


def read_documents(data: str, column: str, limit_characters: int) -> list[Document]:
    """Returns the documents of `data`: a folder or file if there is one of that name, else a dataset on the hub.

    A document is a file, or one line of a `.jsonl` file, or one row of a hub dataset; its name (relative path, with the line
    number behind `#`) decides its split. A hub dataset is read from its start until `limit_characters`.

    Raises:
        DataError: when nothing of that name exists, or what exists holds no text.
    """
    path = Path(data)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        documents = [document for file in files for document in _file(file, file.relative_to(path).as_posix(), column)]
    elif path.is_file():
        if path.suffix not in SUFFIXES:
            raise DataError(f"text data must end in one of {', '.join(SUFFIXES)}; got {data!r}")
        documents = _file(path, path.name, column)
    else:
        documents = activations.read_hub(data, column, limit_characters)
    documents = [document for document in documents if document.text.strip()]
    if not documents:
        raise DataError(f"text data must hold at least one document that is not blank; found none in {data!r}")
    return documents


def _file(path: Path, name: str, column: str) -> list[Document]:
    if path.suffix != ".jsonl":
        return [Document(name, read_text(path))]
    documents = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            documents.append(Document(f"{name}#{number}", _text(line, column, f"{path}:{number}")))
    return documents


def _text(line: str, column: str, where: str) -> str:
    try:
        text = json.loads(line)[column]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{where}: a line must be a JSON object with the field {column!r}; got {line[:80]!r}") from error
    if not isinstance(text, str):
        raise DataError(f"{where}: the field {column!r} must be text; got {text!r:.80}")
    return text
