"""The events of a run: revival, the controller's checks, and calibration at the end: of gates, then of codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archsearch.assembler.build import Assembly, assemble
from archsearch.assembler.cut import cut_codes
from archsearch.assembler.sae import SAE
from archsearch.evaluation.metrics import evaluate
from archsearch.spec.seeds import seed_of
from archsearch.spec.space import MET
from archsearch.training.member import Member
from archsearch.training.view import view

CALIBRATED = 2**26
"""Code entries a calibration looks at, at most: rows are left out beyond."""


def happen(member: Member) -> None:
    """Lets the events due at the member's step happen, in place."""
    due, spec = member.assembly.receipt.events, member.assembly.spec
    revival, controller = member.assembly.revival, member.sae.controller
    if controller is not None and member.step in due["controller"]:
        # Before a revival at the same step: what it brings back fires at first as it will not later.
        l0 = evaluate(member.sae, member.calibrate).l0
        controller.check(l0)
        member.events.append((member.step, spec.controller.kind, {"l0": l0}))
    if revival is not None and member.step in due["revival"]:
        generator = torch.Generator().manual_seed(seed_of("revival", spec.training.seed, member.step))
        member.events.append((member.step, spec.revival.kind, revival.apply_to(view(member), generator)))
    if member.step == member.total_steps:
        _calibrate(member)
    if controller is None:
        return
    if member.step == member.total_steps:
        l0 = evaluate(member.sae, member.calibrate).l0
        member.events.append((member.step, spec.controller.kind, {"l0": l0}))
        if abs(l0 / controller.wanted - 1) > MET:
            reason = controller.reason(l0) if member.assembly.calibration is None else "the calibration cuts codes after training"
            _remark(member, f"asked for L0 {controller.wanted:g}, it ends at {l0:.1f}: {reason}")


def _calibrate(member: Member) -> None:
    """Lets gates set their state, then cuts the codes they give."""
    rows = _placed(member.sae, member.calibrate)
    member.sae.calibrate(rows)
    if member.assembly.calibration is not None:
        ((told, remark),) = _cut([member.assembly], rows)
        member.events.append((member.step, member.assembly.spec.calibration.kind, told))
        _remark(member, remark)


def cut(sae: SAE, specs: Sequence[Any], calibrate: dict[str, Tensor]) -> list[tuple[Assembly, str]]:
    """Returns a trained SAE as it would have ended with each of `specs`, its own but for a calibration, and what the calibration remarks.

    A calibration is the last event of a run, and training knows nothing of it. The SAE is left as it is; those returned share its weights.
    Calibrations may differ from each other by how much they keep alone.

    Raises:
        AssemblyError: a calibration cannot act on this SAE.
    """
    parameter, found = next(sae.parameters()), list[Assembly]()
    for spec in specs:
        assembly = assemble(spec, model=sae.graph.model, device=parameter.device, dtype=parameter.dtype)
        assembly.sae.load_state_dict(assembly.sae.state_dict() | sae.state_dict(), assign=True)  # its cut-offs alone are not there yet
        found.append(assembly)
    told = _cut(found, _placed(sae, calibrate)) if found else []
    return [(assembly, remark) for assembly, (_, remark) in zip(found, told, strict=True)]


def _cut(assemblies: Sequence[Assembly], rows: dict[str, Tensor]) -> list[tuple[dict[str, float], str]]:
    """Cuts the codes of SAEs as their calibrations say (in place); returns the L0 of each before and after, and what is remarked of it."""
    calibrations = [one.calibration for one in assemblies if one.calibration is not None]
    found = cut_codes([one.sae for one in assemblies], calibrations, rows)
    return [
        ({"l0_before": before, "l0": after}, one.remark(before, after)) for one, (before, after) in zip(calibrations, found, strict=True)
    ]


def _remark(member: Member, sentence: str) -> None:
    member.remark = "; ".join(part for part in (member.remark, sentence) if part)


def _placed(sae: SAE, calibrate: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the rows a calibration looks at, where the SAE is."""
    parameter, rows = next(sae.parameters()), CALIBRATED // sae.graph.width
    return {name: values[:rows].to(device=parameter.device, dtype=parameter.dtype) for name, values in calibrate.items()}
