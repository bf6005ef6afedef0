"""The schemas editors read are those the catalogue grows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archsearch.blocks.catalogue import built_in
from archsearch.spec.schema import sae_schema, space_schema

FOLDER = Path(__file__).parents[2] / "archsearch" / "schema"


@pytest.mark.parametrize(("name", "make"), [("space", space_schema), ("sae", sae_schema)])
def test_the_schema_files_are_up_to_date(name: str, make) -> None:
    written = json.loads((FOLDER / f"{name}.json").read_text())
    assert written == make(built_in().grammar), f"run: archsearch schema {name} > archsearch/schema/{name}.json"
