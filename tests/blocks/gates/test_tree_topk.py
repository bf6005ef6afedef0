from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.assembler.requested import at_requested_l0
from archsearch.blocks.catalogue import catalogue
from archsearch.blocks.gates.tree_topk import TreeTopK
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from archsearch.evaluation.metrics import evaluate
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from tests.blocks.gates.shared import k_most, k_now
from tests.blocks.harness import Case, Example, Two, base


def _families(settings: dict[str, Any], latents: int) -> tuple[int, int]:
    """Returns how many families there are, and how many latents are left over."""
    generation = family = 1
    for _ in range(settings["generations"] - 1):
        generation *= settings["children"]
        family += generation
    return latents // family, latents % family


def _children(parent: int, generation: int, settings: dict[str, Any], latents: int) -> list[int]:
    """Returns the children of the `parent`-th latent of a generation, as places in theirs."""
    count = settings["children"]
    families, _ = _families(settings, latents)
    return [] if generation == 0 and parent >= families else [parent * count + i for i in range(count)]


def _start(generation: int, settings: dict[str, Any], latents: int) -> int:
    """Returns the first latent of a generation."""
    families, left = _families(settings, latents)
    return sum(families * settings["children"] ** i for i in range(generation)) + (left if generation else 0)


def reference(settings, ports, tensors):
    pre, generations = ports["pre"], settings["generations"]
    latents = pre.shape[1]
    code = np.zeros_like(pre)
    parents = sum(_families(settings, latents))
    most = min(-(-k_most(settings, latents) // generations), parents)
    for row, values in enumerate(pre):
        left = round(k_now(settings, ports))
        # Which of several equal parents is kept is the library's choice: the reference takes it.
        for parent in torch.tensor(values[:parents]).topk(most).indices.tolist():
            place, on = parent, values[parent] > 0
            if left > 0 and on:
                code[row, parent] = values[parent]
            for generation in range(generations - 1):
                start = _start(generation + 1, settings, latents)
                family = _children(place, generation, settings, latents) if on else []
                if not family:
                    break
                place = max(family, key=lambda child: values[start + child])
                value = values[start + place]
                value = value if value > 0 else settings["leak"] * value
                on = value != 0
                if left > generation + 1:
                    code[row, start + place] = value
            left -= generations
    return {"code": code}


def reference_infer(settings, ports, tensors):
    return reference(settings, {"pre": ports["pre"]}, tensors)


EXAMPLE = Example(
    settings={"k": 3, "children": 3},
    cases=(
        Case(),
        Case({"k": 2, "leak": 0.25}),
        Case({"k": 100, "children": 1}),
        Case({"k": 5, "children": 2, "generations": 3, "leak": 0.25}),
        Case({"k": 1, "children": 7}),
        Case({"k": 6, "children": 2, "leak": 0.25}),
        Case({"k": 9, "children": 1, "generations": 3}),
        Case({"k_start": 4, "anneal_frac": 0.75}),
        Case({"k_start": 100, "anneal_frac": 0.75, "anneal": "exponential"}),
    ),
    fields={
        "k": Two(2, 4),
        "children": Two(4, 3),
        "generations": Two(2, 3, {"children": 2, "k": 4}),
        "leak": Two(0.0, 0.25),
        "k_start": Two(4, 6, {"k": 2, "anneal_frac": 0.75}),
        "anneal_frac": Two(0.5, 1.0, {"k_start": 6}),
        "anneal": Two("linear", "exponential", {"k": 2, "k_start": 6, "anneal_frac": 0.75}),
    },
    reference=reference,
)


def _code(pre: list[float], **settings: Any) -> list[float]:
    return TreeTopK(TreeTopK.Spec(**settings), Sizes(2, len(pre)))(torch.tensor([pre]))["code"][0].tolist()


def test_a_child_is_kept_under_its_parent_only():
    # Two parents, 1 and 3, then the three children of each: the second parent is kept, and the largest of its own children.
    pre = [1.0, 3.0, 9.0, 9.0, 9.0, 0.5, 2.0, -1.0]
    assert _code(pre, k=2) == [0.0, 3.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]
    # A third latent is the next parent, without a child; a fourth is its child.
    assert _code(pre, k=3) == [1.0, 3.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0]
    assert _code(pre, k=4) == [1.0, 3.0, 9.0, 0.0, 0.0, 0.0, 2.0, 0.0]


def test_grandchildren_follow_the_child_that_is_on():
    # One parent; its children 1 and 2; their children 4, 5 and 6, 7: the line runs through the second child.
    assert _code([1.0, 1.0, 2.0, 4.0, 5.0, 6.0, 7.0], k=3, children=2, generations=3) == [1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 7.0]


def test_a_best_child_below_zero_is_off_or_leaks_and_cuts_its_line_off():
    pre = [1.0, -2.0, -4.0, 5.0, 5.0, 5.0, 5.0]
    assert _code(pre, k=3, children=2, generations=3) == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert _code(pre, k=3, children=2, generations=3, leak=0.25) == [1.0, -0.5, 0.0, 5.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("leak", [0.0, 0.01])
def test_parents_that_are_off_have_no_children_on(leak: float):
    gate = TreeTopK(TreeTopK.Spec(k=5, children=3, generations=3, leak=leak), Sizes(2, 53))
    pre = torch.randn(200, 53, generator=torch.Generator().manual_seed(0))
    parents, children, grandchildren = (gate(pre)["code"] != 0).split([5, 12, 36], -1)
    assert not (children.unflatten(-1, (4, 3)).any(-1) & ~parents[:, :4]).any()  # the fifth parent has none
    assert not (grandchildren.unflatten(-1, (12, 3)).any(-1) & ~children).any()
    assert parents.sum(-1).max() == 2 and children.sum(-1).max() == 2 and grandchildren.sum(-1).max() == 1


def test_what_is_no_number_is_not_hidden():
    assert torch.tensor(_code([1.0, 3.0, 0.0, 0.0, 0.0, 0.0, float("nan"), 0.0], k=2)).isnan().any()


def test_latents_that_make_no_family_are_parents_without_children():
    # Three latents a family: of five, one family; its parent and two parents alone, then the two children.
    assert _code([1.0, 3.0, 2.0, 4.0, 5.0], k=2, children=2) == [0.0, 3.0, 0.0, 0.0, 0.0]
    assert _code([1.0, 3.0, 2.0, 4.0, 5.0], k=6, children=2) == [1.0, 3.0, 2.0, 0.0, 5.0]


def test_latents_that_hold_no_family_are_refused():
    document = base()
    document["graph"]["gate"] = {"kind": "tree_topk", "k": 2, "children": 3, "generations": 3}
    with pytest.raises(AssemblyError, match=r"graph\.gate.*take 13, and there are 12 latents"):
        assemble(parse(document), model=6)


def test_a_requested_l0_is_the_count_of_both_generations():
    document = {**base(), "target_l0": 4}
    document["graph"]["gate"] = {"kind": "tree_topk"}
    assert at_requested_l0(document, catalogue())["graph"]["gate"]["k"] == 4


# Planted: every row is one of four parents and one of that parent's three children, which occur with no other.

MODEL = 16


def _planted(rows: int = 2048) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    basis = torch.linalg.qr(torch.randn(MODEL, MODEL, generator=generator, dtype=torch.float64))[0]
    parents, children = basis[:4], basis[4:].unflatten(0, (4, 3))
    parent, child = torch.randint(4, (rows,), generator=generator), torch.randint(3, (rows,), generator=generator)
    strength = 1 + torch.rand(rows, 2, 1, generator=generator, dtype=torch.float64)
    return {"x": strength[:, 0] * parents[parent] + 0.5 * strength[:, 1] * children[parent, child]}


def _trained(width: int, gate: dict[str, Any], **graph: Any):
    document = {
        "width": width,
        "graph": {"encoder": "linear_encoder", "gate": gate, **graph, "decoder": "linear_decoder"},
        "training": {"tokens": 64 * 600, "batch": 64, "optimizer": {"kind": "adam", "lr": 0.01}},
    }
    member = start(parse(document), _planted(), _planted(), precision="float64")
    train([member], Looped())
    return member.sae


def test_children_refine_their_parents_where_the_data_has_both():
    alone = evaluate(_trained(4, {"kind": "topk", "k": 1}), _planted())
    levels = {"level": {"kind": "matryoshka", "prefixes": [0.25]}}
    tree = _trained(16, {"kind": "tree_topk", "k": 2, "children": 3}, **levels)
    told = evaluate(tree, _planted())
    assert told.l0 <= 2 and told.fvu < 0.5 * alone.fvu
    code = tree.encode(_planted())
    parents, children = code[:, :4], code[:, 4:].unflatten(-1, (4, 3))
    assert ((children != 0).any(-1) & (parents == 0)).sum() == 0
