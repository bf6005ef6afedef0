"""What the tests of gates share: references in plain Python, and the SAEs gates are tried in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tests.blocks.harness import Arrays, Case, Example, Reference, Two, base, data, grown

# Counts of latents that may move over the run.


def k_now(settings: dict[str, Any], ports: Arrays) -> float:
    """Returns the count of latents at a moment of the run."""
    k, start = settings["k"], settings["k_start"]
    if start is None or "progress" not in ports:
        return k
    share = min(float(ports["progress"]) / settings["anneal_frac"], 1.0)
    return start + (k - start) * share if settings["anneal"] == "linear" else start * (k / start) ** share


def k_most(settings: dict[str, Any], latents: int) -> int:
    """Returns the largest count of latents of the run."""
    return min(max(settings["k"], settings["k_start"] or 0), latents)


def by_row(score: Callable[[Any], Any], kept: Callable[[Any], Any]) -> tuple[Reference, Reference]:
    """Returns the references, in training and at inference, of a gate that keeps `kept(h)` of the `k` entries of highest `score(h)`."""

    def reference(settings: dict[str, Any], ports: Arrays, tensors: Arrays) -> Arrays:
        code = np.zeros_like(ports["pre"])
        for row, values in enumerate(ports["pre"]):
            scores = score(values)
            chosen = np.argsort(-scores, kind="stable")[: round(k_now(settings, ports))]  # of equal ones the first
            for index in chosen:
                code[row, index] = kept(values[index])
        return {"code": code, **({"threshold": tensors["threshold"]} if settings["inference"] == "calibrated" else {})}

    def reference_infer(settings: dict[str, Any], ports: Arrays, tensors: Arrays) -> Arrays:
        if settings["inference"] == "rows":
            return reference(settings, {"pre": ports["pre"]}, tensors)
        theta = float(tensors["threshold"])
        return {"code": [[kept(value) if score(value) >= theta else 0.0 for value in row] for row in ports["pre"]]}

    return reference, reference_infer


def row_example(reference: Reference) -> Example:
    """Returns what the contract tests need to know of a gate that chooses by row."""
    return Example(
        settings={"k": 3},
        cases=(
            Case(),
            Case({"k": 100}),
            Case({"k_start": 6, "anneal_frac": 0.75}),
            Case({"k_start": 100, "anneal_frac": 0.75, "anneal": "exponential"}),
            Case({"inference": "calibrated"}),
        ),
        fields={
            "k": Two(2, 5),
            "k_start": Two(6, 10, {"anneal_frac": 0.75}),
            "anneal_frac": Two(0.5, 1.0, {"k_start": 6}),
            "anneal": Two("linear", "exponential", {"k_start": 10, "anneal_frac": 0.75}),
            "inference": Two("rows", "calibrated"),
        },
        reference=reference,
    )


# Gated encoders.


def paths(ports: Arrays, tensors: Arrays) -> tuple[Any, Any]:
    """Returns what decides, `pi`, and what speaks, before it is clipped at zero."""
    gate, magnitude = ports["gate"], ports.get("magnitude")
    strength = (gate * np.exp(tensors["r_mag"]) if magnitude is None else magnitude) + tensors["b_mag"]
    return gate + tensors["b_gate"], strength


def back_through_paths(d_pi: Any, d_strength: Any, ports: Arrays, tensors: Arrays) -> Arrays:
    """Returns the gradients of ports and parameters from those of what `paths` returns."""
    found = {"gate": d_pi, "b_gate": d_pi.sum(0), "b_mag": d_strength.sum(0)}
    if "magnitude" in ports:
        return {**found, "magnitude": d_strength}
    scale = np.exp(tensors["r_mag"])
    return {**found, "gate": d_pi + d_strength * scale, "r_mag": (d_strength * ports["gate"] * scale).sum(0)}


def stepped(settings: dict[str, Any], ports: Arrays, tensors: Arrays) -> Arrays:
    """The reference at inference of a gated encoder whose gate is then a step."""
    pi, strength = paths(ports, tensors)
    on = (pi > 0) * 1.0
    return {"code": on * np.maximum(strength, 0.0), "gate_code": np.maximum(pi, 0.0), "active": on}


def assert_finite_at_the_ends_of_noise(gate: Any) -> None:
    """Codes and gradients of a gate of three latents are finite where its uniform numbers are 0 and the last before 1."""
    out = gate(torch.zeros(1, 3), uniform=torch.tensor([[0.0, 1 - 2**-24, 0.5]]))
    sum(value.sum() for value in out.values()).backward()
    assert all(value.isfinite().all() for value in out.values())
    assert all(value.grad.isfinite().all() for value in gate.parameters())


def sigmoid(value: Any) -> Any:
    """Returns the logistic function of numbers of any size."""
    return 0.5 * (1 + np.tanh(value / 2))


# Pseudo-gradients, and penalties that count.


def kernel(u: Any, shape: str) -> Any:
    """Returns K(u)."""
    within = abs(u) < 1
    return {
        "identity": np.ones_like(u),
        "heaviside": (u > 0) * 1.0,
        "rectangle": (abs(u) < 0.5) * 1.0,
        "triangle": np.where(within, 1 - abs(u), 0.0),
        "sigmoid": sigmoid(u) * sigmoid(-u),
        "gaussian": np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi),
        "epanechnikov": np.where(within, 3 / 4 * (1 - u**2), 0.0),
        "quartic": np.where(within, 15 / 16 * (1 - u**2) ** 2, 0.0),
        "raised_cosine": np.where(within, (1 + np.cos(np.pi * u)) / 2, 0.0),
        "cauchy": 1 / (np.pi + np.pi * u**2),
        "silverman": np.exp(-abs(u) / np.sqrt(2)) * np.sin(abs(u) / np.sqrt(2) + np.pi / 4) / 2,
    }[shape]


def counted(spec: dict[str, Any], weight: float = 0.1) -> dict[str, Any]:
    """Returns an SAE with a gate and a penalty on the count of its latents that are on."""
    document = base()
    document["graph"]["gate"] = spec
    document["losses"]["sparsity"] = {"kind": "l0", "weight": weight}
    return document


def share_on(spec: dict[str, Any], weight: float) -> float:
    """Returns the share of codes that are not zero after training against the count, which must have moved `b_gate`."""
    document = counted(spec, weight)
    document["training"]["tokens"] = 4096
    sae = grown(document).sae
    gate = sae.block("gate")
    assert ((gate.b_gate - gate.fills["b_gate"]).abs() > 0.01).any()
    return (sae.encode(data()) != 0).double().mean().item()
