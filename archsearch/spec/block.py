"""What every block's settings share: a kind, and the signals it reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic import Field as Field

Model = TypeVar("Model", bound=BaseModel)


class SpecModel(BaseModel):
    """Base of everything written in a spec: frozen, with no room for unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_numbers(cls, data: Any) -> Any:
        """Makes `true` where a number belongs a word, so that it is refused: Python would take it for 1."""
        if not isinstance(data, dict):
            return data
        found = dict(data)
        for name, value in data.items():
            field = cls.model_fields.get(name)
            types = (get_args(field.annotation) or (field.annotation,)) if field else ()
            if isinstance(value, bool) and bool not in types and (int in types or float in types):
                found[name] = str(value).lower()
        return found


class Wire(SpecModel):
    """One signal read by a port, e.g. `encoder`, `gate.gate_code` or `decoder.dictionary`; a string is short for it."""

    signal: str = Field(min_length=1, description="Label of a block (its main output), or label.output, or an input's name.")
    detach: bool | None = Field(None, description="Stop the gradient through this wire; unset leaves the choice to the port.")


def _wire(value: Any) -> Any:
    return {"signal": value} if isinstance(value, str) else value


def _wiring(value: Any) -> Any:
    if isinstance(value, dict) and "signal" in value:
        return [value]
    return [value] if isinstance(value, str) else value


ShortWire = Annotated[Wire, BeforeValidator(_wire, json_schema_input_type=str | Wire)]
Wires = list[ShortWire]


def _ports(value: Any) -> Any:
    return {port: _wiring(wires) for port, wires in value.items()} if isinstance(value, dict) else value


ByPort = Annotated[dict[str, Wires], BeforeValidator(_ports, json_schema_input_type=dict[str, str | Wire | list[str | Wire]])]


def _from(value: Any) -> Any:
    named = isinstance(value, dict) and "signal" not in value
    return value if named else _wiring(value)


Wiring = Annotated[ByPort | Wires, BeforeValidator(_from, json_schema_input_type=str | Wire | list[str | Wire] | ByPort)]


class BlockSpec(SpecModel):
    """Settings of one block. `kind` names the block; subclasses give it a `Literal` type and add fields."""

    kind: str


class StepSpec(BlockSpec):
    """Settings of a block that stands in the graph, and the signals it reads."""

    from_: Wiring | None = Field(
        None, alias="from", description="Signals read: one, a list for the main port, or {port: signal}. Unset: the block before."
    )


class LossSpec(StepSpec):
    """Settings every term of the loss has."""

    of: ShortWire | None = Field(None, description="Signal the term is computed from (the main port).")
    weight: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="Coefficient of the term, above zero (in units of E|x|^2 = d); to do without it, take it out.",
    )
    warmup_frac: float = Field(
        0.0, ge=0, lt=1, description="Share of the run over which the coefficient rises linearly from zero (0 to 1)."
    )


class NestedSpec(StepSpec):
    """Settings of a block that is itself a graph; the assembler lays its blocks out in place."""

    width: int = Field(ge=1, description="Latents of the nested SAE (count).")
    graph: dict[str, Any] = Field(min_length=1, description="Blocks of the nested SAE, in order.")
    output: str | None = Field(None, description="Label of the block inside that is the reconstruction; unset: the last one.")


class Paper(SpecModel):
    """Where a block comes from."""

    title: str
    url: str
    where: str = Field(description="Section, equation or page.")


def refuse_unused(spec: Model, fields: Iterable[str], because: str) -> Model:
    """Returns `spec`, for use as a model validator, if each of `fields` holds its default: a setting that cannot act must not be set.

    Comparing with the default, not with what was written, lets a full dump be read back.

    Raises:
        ValueError: a field that has no effect under `because` was set to something else.
    """
    defaults = type(spec).model_fields
    acting = [f"{name}: {getattr(spec, name)!r}" for name in fields if getattr(spec, name) != defaults[name].default]
    if acting:
        raise ValueError(f"{', '.join(acting)} cannot act with {because}; leave it out")
    return spec
