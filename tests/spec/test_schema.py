"""The JSON Schemas accept every space there is and every hole, and refuse what Pydantic would."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from archsearch.blocks.catalogue import catalogue
from archsearch.spec.schema import sae_schema, space_schema
from archsearch.spec.yaml import load

SPACES = sorted((Path(__file__).parents[2] / "spaces").glob("*.yaml"))
SAE = {"width": 4, "graph": {"encoder": "linear_encoder", "gate": {"kind": "topk", "k": 2}, "decoder": "linear_decoder"}}

TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}
IGNORED = {"title", "description", "default", "discriminator", "$defs", "$schema", "required", "patternProperties"}


def valid(value: Any, schema: Any, root: Any) -> bool:
    """Tells whether `value` fits `schema`. Enough of JSON Schema for the schemas made here; an unknown keyword is an error."""
    return all(_holds(word, rule, value, schema, root) for word, rule in schema.items() if word not in IGNORED) and _required(value, schema)


def _required(value: Any, schema: Any) -> bool:
    return not isinstance(value, dict) or all(name in value for name in schema.get("required", []))


def _holds(word: str, rule: Any, value: Any, schema: Any, root: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    checks = {
        "$ref": lambda: valid(value, _resolve(rule, root), root),
        "anyOf": lambda: any(valid(value, option, root) for option in rule),
        "oneOf": lambda: sum(valid(value, option, root) for option in rule) == 1,
        "type": lambda: isinstance(value, TYPES[rule]) and (rule not in ("integer", "number") or not isinstance(value, bool)),
        "enum": lambda: value in rule,
        "const": lambda: value == rule,
        "minimum": lambda: not number or value >= rule,
        "maximum": lambda: not number or value <= rule,
        "exclusiveMinimum": lambda: not number or value > rule,
        "exclusiveMaximum": lambda: not number or value < rule,
        "minItems": lambda: not isinstance(value, list) or len(value) >= rule,
        "maxItems": lambda: not isinstance(value, list) or len(value) <= rule,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= rule,
        "minLength": lambda: not isinstance(value, str) or len(value) >= rule,
        "minProperties": lambda: not isinstance(value, dict) or len(value) >= rule,
        "pattern": lambda: not isinstance(value, str) or re.search(rule, value) is not None,
        "items": lambda: not isinstance(value, list) or all(valid(entry, rule, root) for entry in value),
        "prefixItems": lambda: not isinstance(value, list) or all(valid(v, r, root) for v, r in zip(value, rule)),
        "properties": lambda: not isinstance(value, dict) or _properties(value, schema, root),
        "additionalProperties": lambda: not isinstance(value, dict) or _properties(value, schema, root),
        "propertyNames": lambda: not isinstance(value, dict) or all(valid(name, rule, root) for name in value),
    }
    return checks[word]()


def _properties(value: dict[str, Any], schema: Any, root: Any) -> bool:
    return all(valid(entry, rule, root) for key, entry in value.items() for rule in _rules(key, schema))


def _rules(key: str, schema: Any) -> list[Any]:
    named = [schema["properties"][key]] if key in schema.get("properties", {}) else []
    matched = [rule for pattern, rule in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
    if named or matched:
        return [*named, *matched]
    other = schema.get("additionalProperties", True)
    return [] if other is True else [{"enum": []}] if other is False else [other]


def _resolve(ref: str, root: Any) -> Any:
    node = root
    for step in ref.removeprefix("#/").split("/"):
        node = node[step]
    return node


@pytest.fixture(scope="module")
def space() -> Any:
    return space_schema(catalogue().grammar)


@pytest.fixture(scope="module")
def sae() -> Any:
    return sae_schema(catalogue().grammar)


@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_space_in_spaces_fits(path: Path, space: Any):
    assert valid(load(path).data, space, space)


def with_gate(gate: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"name": "try", "sae": copy.deepcopy(SAE)}
    document["sae"]["graph"]["gate"] = gate
    return document


@pytest.mark.parametrize(
    ("gate", "fits"),
    [
        ("topk", True),
        ("tokp", False),
        ({"kind": "topk", "k": {"int": [1, 4], "log": True}}, True),
        ({"kind": "topk", "k": {"float": [1, 4]}}, False),
        ({"kind": "topk", "k": {"choice": [1, 4]}}, True),
        ({"kind": "topk", "k": {"choice": []}}, False),
        ({"kind": "topk", "kk": 3}, False),
        ({"kind": "gated", "training": {"choice": ["frozen_decoder", "straight_through"]}}, True),
        ({"kind": "gated", "training": {"choice": ["frozen_decoder", "straight"]}}, False),
        ({"oneof": {"a": "topk", "b": {"kind": "batch_topk", "k": {"int": [1, 4]}}, "none": None}}, True),
        ({"oneof": {"a": "tokp"}}, False),
        ({"repeat": "topk", "min": 0, "max": 2}, True),
        ({"repeat": "topk"}, False),
        ({"kind": "topk", "from": {"choice": ["encoder", "other"]}}, True),
        ({"kind": "topk", "k": {"int": [1, 4], "prior": 2}}, True),
        ({"kind": "topk", "k": {"int": [1, 4], "prior": "two"}}, False),
        ({"kind": "gated", "training": {"choice": ["frozen_decoder", "straight_through"], "prior": "straight_through"}}, True),
        ({"oneof": {"a": "topk", "b": "relu"}, "prior": "b"}, True),
        ({"oneof": {"a": "topk", "b": "relu"}, "prior": 2}, False),
        ({"repeat": "topk", "max": 2, "prior": 1}, True),
    ],
)
def test_a_block_is_a_kind_a_mapping_or_a_hole(gate: Any, fits: bool, space: Any):
    assert valid(with_gate(gate), space, space) is fits


def test_variants_are_checked_at_the_paths_people_write(space: Any):
    def fits(branch: Any) -> bool:
        document = with_gate("topk") | {"variants": {"gate": {"oneof": {"one": branch}}}}
        return valid(document, space, space)

    assert fits({"graph.gate": "batch_topk", "losses.sparsity": {"kind": "l1", "weight": {"float": [1, 2]}}, "width": 8})
    assert fits({"losses.sparsity": None, "training.optimizer.lr": 0.1}) and fits(None)
    assert not fits({"graph.gate": "bach_topk"})
    assert not fits({"training.tokens": "many"})


def test_an_sae_spec_has_no_holes_and_checks_nested_graphs(sae: Any):
    assert valid(SAE, sae, sae)
    assert not valid({**SAE, "width": {"int": [1, 4]}}, sae, sae)
    nested = {"width": 4, "graph": {"inner": {"kind": "sae", "width": 2, "graph": SAE["graph"]}}}
    assert valid(nested, sae, sae)
    nested["graph"]["inner"]["graph"] = {"gate": "tokp"}
    assert not valid(nested, sae, sae)


def test_every_kind_of_the_catalogue_is_in_the_schema(sae: Any):
    text = repr(sae)
    assert [kind for kind in catalogue().blocks if f"'const': '{kind}'" not in text] == []


def test_a_group_of_variants_may_have_a_prior(space: Any):
    group = {"oneof": {"one": {"width": 8}, "two": None}}
    assert valid(with_gate("topk") | {"variants": {"gate": {**group, "prior": "two"}}}, space, space)
    assert not valid(with_gate("topk") | {"variants": {"gate": {**group, "prior": 2}}}, space, space)
