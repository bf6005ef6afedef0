"""The Hugging Face hub: datasets read from their start, and the commit of a model."""

from __future__ import annotations

from datasets import load_dataset
from transformers import AutoConfig

from archsearch.activations.corpus import Document
from archsearch.errors import DataError


def read_hub(data: str, column: str, limit_characters: int) -> list[Document]:
    """Returns documents from the start of the train part of a hub dataset, until they hold `limit_characters`.

    Raises:
        DataError: when the dataset cannot be had: no such name, no such field, no network.
    """
    documents: list[Document] = []
    characters = 0
    try:
        for number, row in enumerate(load_dataset(data, split="train", streaming=True)):
            documents.append(Document(f"{data}#{number}", row[column]))
            characters += len(row[column])
            if characters >= limit_characters:
                break
    except Exception as error:  # the hub's clients raise a dozen unrelated types; all mean that the data cannot be had
        raise DataError(
            f"data must be a local folder, a local file, or a dataset on the hub with the field {column!r} (needs network); "
            f"{data!r} could not be read: {said(error)}"
        ) from error
    return documents


def hub_commit(name: str) -> str:
    """Returns the commit of a hub model, from the network or the local hub cache.

    Raises:
        DataError: when neither has it.
    """
    try:
        commit = getattr(AutoConfig.from_pretrained(name), "_commit_hash", None)
    except (OSError, ValueError) as error:
        raise DataError(
            f"a model must be a local Hugging Face folder, or a name on the hub (needs network); {name!r} could not be opened: "
            f"{said(error)}"
        ) from error
    if commit is None:
        raise DataError(f"a hub model must have a commit to be told apart by; {name!r} has none; give a local folder instead")
    return commit


def said(error: Exception) -> str:
    """Returns the type and first line of a foreign error."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
