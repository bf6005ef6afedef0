"""Residual stacks of SAEs three deep, as YAML: trained jointly, with a loss at every stage, and greedily."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.evaluation.metrics import evaluate
from archsearch.spec.template import Template
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from archsearch.training.stacked import Stacked
from tests.assembler.agreement import trained_in_both
from tests.blocks.harness import data

STAGES = {"first": (8, 2), "second": (12, 3), "third": (16, 2)}
"""Width and k. Not k = 1: a row of one unit latent, with the encoder as the dictionary, has a gradient of zero but for rounding."""
STAGE = "{kind: sae, width: %d, graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: %d}, decoder: linear_decoder}}"
FIRST, SECOND, THIRD = (STAGE % sizes for sizes in STAGES.values())

JOINT = f"""
width: 36
graph:
  first: {FIRST}
  left_by_first: {{kind: subtract, from: [x, first]}}
  second: {SECOND}
  left_by_second: {{kind: subtract, from: [left_by_first, second]}}
  third: {THIRD}
  output: {{kind: add, from: [first, second, third]}}
"""

SUPERVISED = f"""
width: 36
graph:
  first: {FIRST}
  left_by_first: {{kind: subtract, from: [x, first]}}
  second: {SECOND}
  both: {{kind: add, from: [first, second]}}
  left_by_second: {{kind: subtract, from: [x, both]}}
  third: {THIRD}
  output: {{kind: add, from: [both, third]}}
losses:
  after_first: {{kind: squared_error, of: first, weight: 0.5}}
  after_second: {{kind: squared_error, of: both, weight: 0.5}}
"""

GREEDY = f"""
width: 36
graph:
  first: {FIRST}
  left_by_first: {{kind: subtract, from: [x, {{signal: first, detach: true}}]}}
  second: {SECOND}
  left_by_second: {{kind: subtract, from: [left_by_first, {{signal: second, detach: true}}]}}
  third: {THIRD}
  output: {{kind: add, from: [first, second, third]}}
losses:
  reconstruction: {{kind: squared_error, from: {{reconstruction: first, target: x}}}}
  second: {{kind: squared_error, from: {{reconstruction: second, target: left_by_first}}}}
  third: {{kind: squared_error, from: {{reconstruction: third, target: left_by_second}}}}
"""

STACKS = {"joint": JOINT, "supervised at every stage": SUPERVISED, "greedy": GREEDY}
each = pytest.mark.parametrize("text", STACKS.values(), ids=STACKS.keys())

ALONE = """
width: 8
graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: 2}, decoder: linear_decoder}
"""


def _read(text: str, lr: float = 0.02, **training: Any) -> dict[str, Any]:
    training |= {"tokens": 32 * 40, "batch": 32, "optimizer": {"kind": "adam", "lr": lr}}
    return {**YAML(typ="safe").load(text), "training": training}


def _started(document: dict[str, Any]) -> Member:
    return start(parse(document), data(), data(), precision="float64")


@each
def test_both_executors_agree_and_every_parameter_moves(text: str):
    trained_in_both(lambda: [_started(_read(text, lr)) for lr in (0.02, 0.01)])


@each
def test_each_stage_lowers_the_error_of_those_before_it(text: str):
    member = _started(_read(text))
    train([member], Looped())
    rows = member.sae.scale(data())
    signals = member.sae.signals(rows)
    left, errors = rows["x"], []
    for stage in STAGES:
        torch.testing.assert_close(signals[f"{stage}/center.x"] + member.sae.block(f"{stage}/decoder").bias, left)
        left = left - signals[f"{stage}/decoder.reconstruction"]
        errors.append(left.square().sum().item())
    assert errors[2] < errors[1] < errors[0] < rows["x"].square().sum()
    torch.testing.assert_close(member.sae.outputs(signals)["x"], rows["x"] - left)


@each
def test_the_stages_are_dictionaries_with_their_own_widths(text: str):
    built = assemble(parse(_read(text)), model=6)
    found = {dictionary.name: (dictionary.width, dictionary.decoders) for dictionary in built.graph.dictionaries}
    assert found == {f"{stage}/gate": (width, (f"{stage}/decoder",)) for stage, (width, _) in STAGES.items()}
    assert built.receipt.width == 36 and built.receipt.dense_rank == 0
    assert built.receipt.flops >= 2 * 2 * 6 * 36
    assert evaluate(_started(_read(text)).sae, data()).l0 <= sum(k for _, k in STAGES.values())


def _from_first_stage(stack: Member, alone: Member) -> None:
    """Gives an SAE the weights of a stack's first stage, in place."""
    for name, value in alone.parameters().items():
        value.data.copy_(stack.parameters()[name.replace("blocks.", "blocks.first/")].data)


@pytest.mark.parametrize("executor", [Looped, Stacked])
def test_a_greedy_stage_trains_as_it_would_alone(executor: Any):
    stack, alone = (_started(_read(text, clip_norm=None)) for text in (GREEDY, ALONE))  # one norm of all gradients would couple stages
    _from_first_stage(stack, alone)
    train([stack], executor())
    train([alone], executor())
    for name, value in alone.parameters().items():
        torch.testing.assert_close(stack.parameters()[name.replace("blocks.", "blocks.first/")], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("text", [JOINT, SUPERVISED])
def test_a_joint_stage_does_not(text: str):
    stack, alone = (_started(_read(one, clip_norm=None)) for one in (text, ALONE))
    _from_first_stage(stack, alone)
    train([stack, alone], Looped())
    difference = stack.parameters()["blocks.first/encoder.weight"] - alone.parameters()["blocks.encoder.weight"]
    assert difference.abs().max() > 1e-3


def test_a_later_greedy_stage_trains_as_it_would_on_the_error_of_a_frozen_one():
    """What the second stage learns depends on the first one's outputs alone: no gradient of the third or the first reaches it."""
    stack = _started(_read(GREEDY))
    rows = stack.sae.scale(data())
    _, terms, _ = stack.sae(rows, torch.zeros((), dtype=torch.float64))
    named = {name: value for name, value in stack.sae.named_parameters()}
    for term, stage in {"reconstruction": "first", "second": "second", "third": "third"}.items():
        gradients = torch.autograd.grad(terms[term], list(named.values()), retain_graph=True, allow_unused=True)
        reached = {name.split(".")[1].split("/")[0] for name, value in zip(named, gradients) if value is not None}
        assert reached == {stage}


DEPTHS = f"""
depth:
  oneof:
    two:
      graph.output: {{kind: add, from: [first, second]}}
    three:
      graph.left_by_second: {{kind: subtract, from: [left_by_first, second]}}
      graph.third: {THIRD}
      graph.output: {{kind: add, from: [first, second, third]}}
"""

SHALLOW = f"""
width: 36
graph:
  first: {FIRST}
  left_by_first: {{kind: subtract, from: [x, first]}}
  second: {SECOND}
"""


class _Pick:
    """Fills every hole with one branch."""

    def __init__(self, branch: str):
        self.branch = branch

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.branch


@pytest.mark.parametrize(("branch", "stages"), [("two", 2), ("three", 3)])
def test_a_space_may_leave_the_depth_of_a_stack_open(branch: str, stages: int):
    template = Template.read(_read(SHALLOW), YAML(typ="safe").load(DEPTHS))
    filled = template.fill(_Pick(branch)).document  # pyright: ignore
    assert len(assemble(parse(filled), model=6).graph.dictionaries) == stages
