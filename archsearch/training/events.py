"""The events of a run: revival, the controller's checks, and the calibration at the end."""

from __future__ import annotations

import torch
from torch import Tensor

from archsearch.evaluation.metrics import evaluate
from archsearch.spec.seeds import seed_of
from archsearch.training.member import Member
from archsearch.training.view import view

CALIBRATED = 2**26
"""Code entries a calibration looks at, at most: rows are left out beyond."""

TOLERANCE = 0.1
"""How far off the L0 asked for a run may end, as a share of it, before that is remarked."""


def happen(member: Member) -> None:
    """Lets the events due at the member's step happen, in place."""
    due, spec = member.assembly.receipt.events, member.assembly.spec
    revival, controller = member.assembly.revival, member.sae.controller
    if revival is not None and member.step in due["revival"]:
        generator = torch.Generator().manual_seed(seed_of("revival", spec.training.seed, member.step))
        member.events.append((member.step, spec.revival.kind, revival.apply_to(view(member), generator)))
    if member.step == member.total_steps:
        member.sae.calibrate(_placed(member, CALIBRATED // member.sae.graph.width))
    if controller is None:
        return
    if member.step in due["controller"]:
        l0 = evaluate(member.sae, member.calibrate).l0
        controller.check(l0)
        member.events.append((member.step, spec.controller.kind, {"l0": l0}))
    if member.step == member.total_steps:
        l0 = evaluate(member.sae, member.calibrate).l0
        member.events.append((member.step, spec.controller.kind, {"l0": l0}))
        if abs(l0 / controller.wanted - 1) > TOLERANCE:
            member.remark = f"asked for L0 {controller.wanted:g}, it ends at {l0:.1f}: {controller.reason(l0)}"


def _placed(member: Member, rows: int) -> dict[str, Tensor]:
    parameter = next(member.sae.parameters())
    return {name: values[:rows].to(device=parameter.device, dtype=parameter.dtype) for name, values in member.calibrate.items()}
