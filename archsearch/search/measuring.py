"""What is measured of an SAE in a study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from archsearch.assembler.build import Assembly
from archsearch.assembler.sae import SAE
from archsearch.evaluation.metrics import evaluate_cuts
from archsearch.search.cutting import Cutting
from archsearch.search.flight import Found
from archsearch.training.member import Member


@dataclass
class Measuring:
    """Measures members on validate rows, at inference, wherever they stand in their run."""

    activations: Any
    objectives: tuple[str, ...]
    cutting: Cutting | None = None
    alone: Lock = field(default_factory=Lock)

    def member(self, member: Member) -> dict[str, float]:
        """Returns metrics and costs of a member by name."""
        return self._saes([member.assembly], member.seconds)[0]

    def whole(self, member: Member) -> Found:
        """Returns what a member comes to at the end of its run, and what it comes to cut to each of the study's points."""
        found = self.member(member)
        if self.cutting is None:
            return Found(found)
        cut = self.cutting.saes(member, found["l0"])
        told = self._saes([sae for _, sae in cut], member.seconds)
        return Found(found, tuple(self.cutting.point(*one, measured) for one, measured in zip(cut, told, strict=True)))

    def _saes(self, assemblies: Sequence[Assembly], seconds: float) -> list[dict[str, float]]:
        """Returns metrics and costs of SAEs of the same weights by name."""
        told = []
        for one, found in zip(assemblies, evaluate_cuts([one.sae for one in assemblies], self.activations.split("validate")), strict=True):
            costs = {"parameters": one.receipt.parameters, "flops": one.receipt.flops, "seconds": round(seconds, 3)}
            told.append(found.as_dict() | costs | (self.spliced(one.sae) if "ce_recovered" in self.objectives else {}))
        return told

    def spliced(self, sae: SAE) -> dict[str, float]:
        """Returns what the language model loses to an SAE; nothing where activations have no model."""
        with self.alone:  # members are measured side by side, and the model, its hooks among it, is one for all
            splicer = self.activations.splicer("validate")
            if splicer is None:
                return {}
            spliced = splicer.cross_entropy(sae.reconstruct)
        return {"ce_recovered": spliced.recovered, "ce": spliced.spliced, "ce_clean": spliced.clean}
