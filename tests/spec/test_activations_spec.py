"""Specs of activation sources: told apart by `source`, strict, frozen."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from archsearch.spec.activations import (
    ActivationsSpec,
    BundledSource,
    DictionarySource,
    FileSource,
    Hierarchy,
    ModelSource,
    SyntheticSource,
)

ADAPTER = TypeAdapter(ActivationsSpec)
SPECS = [
    {"source": "bundled"},
    {"source": "bundled", "hook": ["blocks.0.hook_out", "blocks.2.hook_out"], "tokens": 5, "eval_tokens": 2},
    {"source": "model", "model": "gpt2", "hook": "blocks.6.hook_out", "data": "texts/"},
    {"source": "file", "path": "a.npy"},
    {"source": "file", "paths": {"train": "a", "calibrate": "b", "validate": "c", "test": "d"}, "hook": "h"},
    {"source": "synthetic", "features": 8, "model": 4, "active": 2},
    {
        "source": "synthetic",
        "features": 8,
        "model": 4,
        "active": 1,
        "decay": 0.5,
        "hierarchy": {"parents": 2, "children": 2, "child_on": 0.5, "exclusive": True, "child_scale": 0.5},
    },
    {"source": "dictionary", "folder": "trained/topk", "held_out": True},
]


@pytest.mark.parametrize("spec", SPECS)
def test_round_trip(spec: dict):
    parsed = ADAPTER.validate_python(spec)
    assert parsed.source == spec["source"]
    assert ADAPTER.validate_json(ADAPTER.dump_json(parsed)) == parsed
    hash(parsed) if spec.get("paths") is None else None
    with pytest.raises(ValidationError, match="frozen"):
        parsed.source = "file"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"source": "nowhere"}, "source"),
        ({"source": "bundled", "hok": "x"}, "hok"),
        ({"source": "bundled", "tokens": 0}, "tokens"),
        ({"source": "bundled", "hook": []}, "hook"),
        ({"source": "bundled", "hook": ""}, "non-empty"),
        ({"source": "bundled", "hook": ["a", "a"]}, "named once"),
        ({"source": "model", "model": "m", "hook": "h"}, "data"),
        ({"source": "model", "model": "m", "hook": "h", "data": "d", "context": 1}, "context"),
        ({"source": "file"}, "exactly one of `path`"),
        ({"source": "file", "path": "a", "paths": {"train": "b"}}, "exactly one of `path`"),
        ({"source": "file", "paths": {"train": "b"}}, "missing: calibrate, test, validate"),
        ({"source": "file", "path": "a", "hook": ["h", "h"]}, "named once"),
        ({"source": "synthetic", "features": 4, "model": 4, "active": 5}, "at most `features`"),
        ({"source": "synthetic", "features": 4, "model": 4, "active": 0}, "active"),
        ({"source": "synthetic", "features": 4, "model": 4, "active": 1, "decay": -1}, "decay"),
        ({"source": "synthetic", "features": 4, "model": 4, "active": 1, "hierarchy": {"parents": 1, "children": 1}}, "child_on"),
        ({"source": "dictionary"}, "folder"),
        ({"source": "dictionary", "folder": ""}, "folder"),
    ],
)
def test_refusals(spec: dict, said: str):
    with pytest.raises(ValidationError, match=said):
        ADAPTER.validate_python(spec)


def test_hooks_are_always_a_tuple():
    assert BundledSource().hooks == ("blocks.1.hook_out",)
    assert BundledSource(hook=["a", "b"]).hooks == ("a", "b")
    assert FileSource(source="file", path="a").hooks == ()


@pytest.mark.parametrize("kind", [BundledSource, ModelSource, FileSource, SyntheticSource, Hierarchy, DictionarySource])
def test_every_field_is_described(kind: type):
    assert [name for name, field in kind.model_fields.items() if name != "source" and not field.description] == []


def test_importing_the_spec_does_not_import_torch():
    code = "import sys, archsearch.spec.activations, archsearch.activations; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
