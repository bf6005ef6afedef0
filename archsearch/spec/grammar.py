"""The grammar of SAE specs: one Pydantic model, grown from the catalogue.

`grammar(catalogue)` builds the discriminated unions over kinds once; parsing, dumping and the JSON Schema all come from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, create_model

from archsearch.spec.block import BlockSpec, SpecModel

GRAPH_SLOTS = ("encoder", "gate", "level", "decoder", "op")
"""Slots whose blocks stand in `graph:`."""


class TrainingBase(SpecModel):
    """How one SAE is trained; the grammar adds the optimizer and the learning-rate schedule."""

    tokens: int = Field(1_000_000, ge=1, le=10**13, description="Activation rows the SAE is trained on (tokens).")
    batch: int = Field(1024, ge=1, le=10**13, description="Rows per step (count).")
    clip_norm: float | None = Field(1.0, gt=0, description="Global gradient norm above which gradients are scaled down; null: never.")
    seed: int = Field(0, ge=0, description="Seed of initialisation and events.")
    data_seed: int = Field(0, ge=0, description="Seed of the order in which rows are seen.")


class SAEBase(SpecModel):
    """An SAE as a graph of blocks; the grammar adds the fields that hold blocks."""

    width: int = Field(ge=1, le=2**31, description="Latents of every encoder at this level of the graph (count).")
    inputs: list[str] = Field(["x"], min_length=1, description="Names of the activations read, in the order of the hook points.")
    target_l0: float | None = Field(
        None, gt=0, description="Effective L0 to reach: sets the gates' counts, or has a controller steer the penalties (latents per row)."
    )
    outputs: dict[str, str] | None = Field(
        None, description="Signal that reconstructs each target, which is one of the inputs; unset: the last block, for a single input."
    )


@dataclass(frozen=True)
class Grammar:
    """The models specs are parsed with.

    `sae` is the SAE spec; `graph` the type of a `graph:` mapping (nested graphs are parsed with it);
    `slots` maps each slot to its kinds and their settings classes.
    """

    sae: type[Any]
    graph: Any
    slots: Mapping[str, Mapping[str, type[BlockSpec]]]

    @cached_property
    def of_sae(self) -> TypeAdapter[Any]:
        """What validates an SAE spec."""
        return TypeAdapter(self.sae)

    @cached_property
    def of_graph(self) -> TypeAdapter[Any]:
        """What validates a `graph:` mapping."""
        return TypeAdapter(self.graph)

    def slot_of(self, kind: str) -> str | None:
        """Returns the slot a kind belongs to."""
        return next((slot for slot, kinds in self.slots.items() if kind in kinds), None)


def _expand(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


def _union(specs: Mapping[str, type[BlockSpec]]) -> Any:
    """Returns the type of a block entry: a mapping discriminated by `kind`, or just the kind."""
    members = list(specs.values())
    union = reduce(or_, members)
    if len(members) > 1:
        union = Annotated[union, Field(discriminator="kind")]
    # The input type makes the JSON Schema accept the short form, so an editor completes kinds.
    return Annotated[union, BeforeValidator(_expand)]


def grammar(slots: Mapping[str, Mapping[str, type[BlockSpec]]], defaults: Mapping[str, str]) -> Grammar:
    """Builds the grammar of a catalogue given as slot -> kind -> settings class; `defaults` names a kind for some slots."""
    graph_specs = {kind: spec for slot in GRAPH_SLOTS for kind, spec in slots.get(slot, {}).items()}
    graph = Annotated[dict[str, _union(graph_specs)], Field(min_length=1, description="Blocks by label, in order.")]

    def single(slot: str, text: str) -> Any:
        default = slots[slot][defaults[slot]].model_validate({})
        return (_union(slots[slot]), Field(default, description=text))

    rules = {
        "optimizer": single("optimizer", "Rule that turns gradients into updates."),
        "schedule": single("schedule", "Learning-rate multiplier over the run."),
    }
    training = _extended(TrainingBase, "TrainingSpec", rules)
    losses = dict[str, _union(slots["loss"])]
    fields = {
        "scale": single("input", "Scaling applied to inputs and targets before the graph, and undone after it."),
        "graph": (graph, ...),
        "losses": (
            losses,
            Field({}, description="Terms of the loss; `reconstruction` is added where no term bears that label, for each target."),
        ),
        "init": single("init", "Initialisation of the whole SAE."),
        "revival": (_union(slots["revival"]) | None, Field(None, description="What is done about dead latents during the run.")),
        "controller": (_union(slots["controller"]) | None, Field(None, description="What moves the strength of penalties during the run.")),
        "calibration": (
            _union(slots["calibration"]) | None,
            Field(None, description="What is done about the lowest activations once the run has ended."),
        ),
        "training": (training, Field(training.model_validate({}), description="How it is trained.")),
    }
    return Grammar(_extended(SAEBase, "SAESpec", fields), graph, slots)


def _extended(base: type[SpecModel], name: str, fields: dict[str, Any]) -> type[Any]:
    """Returns a model with fields that are known only at run time, beyond what a type checker can follow."""
    make: Any = create_model
    return make(name, __base__=base, __module__=__name__, **fields)
