"""JSON Schemas of spec and space files, for editors: they complete kinds and settings, and accept a hole wherever one may stand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archsearch.spec.grammar import Grammar
from archsearch.spec.space import Space

Schema = dict[str, Any]

_BOUNDS = {"type": "array", "minItems": 2, "maxItems": 2}
_NULL: Schema = {"type": "null"}
_WORD: Schema = {"type": "string"}


def sae_schema(grammar: Grammar) -> Schema:
    """Returns the JSON Schema of an SAE spec: every block also in its short form, nested graphs written out."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_Opener(grammar, holes=False).schema("SAE")}


def space_schema(grammar: Grammar) -> Schema:
    """Returns the JSON Schema of a space file."""
    opener = _Opener(grammar, holes=True)
    sae = opener.schema("SAE")
    space = Space.model_json_schema()
    definitions = {**space.pop("$defs"), **sae["$defs"]}
    tree = {"$ref": "#/$defs/SAE"}
    space["properties"] |= {
        "sae": tree,
        "variants": _variants(definitions, opener),
        "baselines": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "object", "additionalProperties": tree}]},
    }
    return {"$schema": sae_schema(grammar)["$schema"], **space, "$defs": definitions}


def _variants(definitions: Mapping[str, Schema], opener: _Opener) -> Schema:
    """Returns the schema of `variants:`; paths as people mostly write them are completed, any other is let through."""
    sae = definitions["SAE"]["properties"]
    training = definitions["TrainingSpec"]["properties"]
    branch = {
        "type": "object",
        "properties": {**sae, **{f"training.{name}": schema for name, schema in training.items()}},
        "patternProperties": {
            r"^graph\.[^.]+$": _or_null({"$ref": "#/$defs/Block"}),
            r"^losses\.[^.]+$": _or_null({"$ref": "#/$defs/Loss"}),
        },
    }
    branches = {"type": "object", "minProperties": 1, "additionalProperties": {"anyOf": [branch, _NULL]}}
    groups = _object({"oneof": branches, "prior": _WORD}, ["oneof"])
    return {"type": "object", "additionalProperties": groups, "description": opener.texts["variants"]}


class _Opener:
    """Rewrites the schema Pydantic makes of a grammar."""

    texts = {"variants": str(Space.model_fields["variants"].description)}

    def __init__(self, grammar: Grammar, holes: bool):
        self._root: Schema = grammar.sae.model_json_schema()
        self._holes = holes
        self._definitions: dict[str, Schema] = self._root.pop("$defs")
        self._kinds = {
            f"#/$defs/{name}": definition["properties"]["kind"]["const"]
            for name, definition in self._definitions.items()
            if "const" in definition.get("properties", {}).get("kind", {})
        }
        # A kind with a setting that must be given has no short form.
        self._short = {ref for ref in self._kinds if not self._definitions[ref.rsplit("/", 1)[1]].get("required")}

    def schema(self, name: str) -> Schema:
        """Returns the whole schema, the SAE itself a definition called `name`."""
        graph, losses = self._root["properties"]["graph"], self._root["properties"]["losses"]
        self._root["properties"]["graph"] = {"$ref": "#/$defs/Graph"}
        # In a space null holds the place of what a variant may put there.
        entry = _or_null if self._holes else dict
        self._root["properties"]["losses"] = {**losses, "additionalProperties": entry({"$ref": "#/$defs/Loss"})}
        for definition in self._definitions.values():
            if "graph" in definition.get("properties", {}):
                definition["properties"]["graph"] = {"$ref": "#/$defs/Graph"}
        opened = {key: self._object(definition) for key, definition in self._definitions.items()}
        opened["Block"] = self._open(graph["additionalProperties"], repeat=True)
        opened["Loss"] = self._open(losses["additionalProperties"])
        opened["Graph"] = {**graph, "additionalProperties": entry({"$ref": "#/$defs/Block"})}
        root = self._object(self._root)
        if self._holes:
            root.pop("required", None)  # a variant may give it
            opened |= {"FloatHole": _range("float", "number"), "IntHole": _range("int", "integer")}
        return {"$defs": {**opened, name: root}, "$ref": f"#/$defs/{name}"}

    def _object(self, schema: Schema) -> Schema:
        """Opens the properties of a model."""
        closed = ("kind", "graph", "losses")  # `graph` and `losses` are opened entry by entry
        properties = {
            name: entry if name in closed else self._open(entry, wires=name in ("from", "of"))
            for name, entry in schema.get("properties", {}).items()
        }
        return {**schema, "properties": properties} if properties else schema

    def _inner(self, schema: Schema) -> Schema:
        """Adds short forms within a schema, and opens what stands in lists and mappings."""
        if self._refs(schema):
            kinds = sorted(self._kinds[ref] for ref in self._refs(schema) if ref in self._short)
            texts = {key: schema[key] for key in ("description", "default") if key in schema}
            block = {key: value for key, value in schema.items() if key not in texts}
            return {"anyOf": [block, {"enum": kinds}], **texts} if kinds else schema
        if "anyOf" in schema:
            return {**schema, "anyOf": [self._inner(member) for member in schema["anyOf"]]}
        found = dict(schema)
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                found[key] = self._open(schema[key])
        return found

    def _refs(self, schema: Schema) -> list[str]:
        refs = [member.get("$ref", "") for member in schema.get("oneOf", [schema])]
        return [ref for ref in refs if ref in self._kinds]

    def _open(self, schema: Schema, repeat: bool = False, wires: bool = False) -> Schema:
        """Returns `schema`, or a hole that may stand for it; wires are opened as a whole."""
        inner = schema if wires else self._inner(schema)
        if wires and self._holes:
            signals = _object({"choice": {"type": "array", "minItems": 1, "items": _WORD}, "prior": _WORD}, ["choice"])
            return {"anyOf": [schema, signals, _object({"oneof": {"type": "object", "minProperties": 1}, "prior": _WORD}, ["oneof"])]}
        if not self._holes:
            return inner
        texts = {key: inner[key] for key in ("title", "description", "default") if key in inner}
        plain = {key: value for key, value in inner.items() if key not in texts}
        options = [plain, *self._value_holes(plain)]
        if repeat:
            count = {"type": "integer", "minimum": 0}
            options.append(_object({"repeat": plain, "min": count, "max": count, "prior": count}, ["repeat", "max"]))
        branches = {"type": "object", "minProperties": 1, "additionalProperties": _or_null({"anyOf": list(options)})}
        return {"anyOf": [*options, _object({"oneof": branches, "prior": _WORD}, ["oneof"])], **texts}

    def _value_holes(self, schema: Schema) -> list[Schema]:
        types = {member.get("type") for member in schema.get("anyOf", [schema])}
        found: list[Schema] = []
        if "number" in types:
            found.append({"$ref": "#/$defs/FloatHole"})
        if types & {"number", "integer"}:
            found.append({"$ref": "#/$defs/IntHole"})
        if types & {"number", "integer", "string", "boolean"}:
            found.append(_object({"choice": {"type": "array", "minItems": 1, "items": schema}, "prior": schema}, ["choice"]))
        return found


def _object(properties: Schema, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, _NULL]}


def _range(word: str, type: str) -> Schema:
    return _object({word: {**_BOUNDS, "items": {"type": type}}, "log": {"type": "boolean"}, "prior": {"type": type}}, [word])
