"""What is measured of an SAE in a study."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from archsearch.assembler.build import Assembly
from archsearch.assembler.sae import SAE
from archsearch.evaluation.metrics import evaluate
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
        return self._sae(member.assembly, member.seconds)

    def whole(self, member: Member) -> Found:
        """Returns what a member comes to at the end of its run, and what it comes to cut to each of the study's points."""
        found = self.member(member)
        if self.cutting is None:
            return Found(found)
        cut = self.cutting.saes(member, found["l0"])
        return Found(found, tuple(self.cutting.point(level, sae, self._sae(sae, member.seconds)) for level, sae in cut))

    def _sae(self, assembly: Assembly, seconds: float) -> dict[str, float]:
        receipt = assembly.receipt
        found = evaluate(assembly.sae, self.activations.split("validate")).as_dict()
        found |= {"parameters": receipt.parameters, "flops": receipt.flops, "seconds": round(seconds, 3)}
        if "ce_recovered" in self.objectives:
            found |= self.spliced(assembly.sae)
        return found

    def spliced(self, sae: SAE) -> dict[str, float]:
        """Returns what the language model loses to an SAE; nothing where activations have no model."""
        with self.alone:  # members are measured side by side, and the model, its hooks among it, is one for all
            splicer = self.activations.splicer("validate")
            if splicer is None:
                return {}
            spliced = splicer.cross_entropy(sae.reconstruct)
        return {"ce_recovered": spliced.recovered, "ce": spliced.spliced, "ce_clean": spliced.clean}
