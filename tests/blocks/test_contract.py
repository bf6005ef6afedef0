"""The contract every block keeps, for every block of the catalogue."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.func import functional_call, vmap

from archsearch.assembler.build import wire
from archsearch.assembler.parse import parse
from archsearch.blocks.catalogue import catalogue
from archsearch.blocks.signals import PARAMETERS, Signal
from archsearch.spec.block import LossSpec
from tests.blocks import harness
from tests.blocks.harness import (
    LATENT,
    MODEL,
    ROWS,
    STEP_SLOTS,
    Case,
    Set,
    Two,
    arrays,
    converted,
    example,
    flat,
    kinds,
    make,
    place,
    same,
    tensors,
    trace,
)

STEP = [kind for kind in kinds(*STEP_SLOTS) if kind != "sae"]
"""Blocks of the step; a nested graph is laid out in place and computes nothing."""

CASES = [pytest.param(kind, case, id=f"{kind}-{index}") for kind in STEP for index, case in enumerate(example(kind).cases)]


def _is_summed(kind: str, case: Case) -> bool:
    """Tells whether a block adds something up to a term of the loss: it is one, or gives one beside what it is for."""
    return any(info.type is Signal.LOSS for info in make(kind, case, device="meta").produced.values())


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("kind", kinds())
def test_every_block_has_its_tests(kind: str):
    module, said = harness.module_of(kind), example(kind)
    assert (said.reference is None) == bool(said.no_reference), "a reference, or why there is nothing to compute"
    assert any(name.startswith("test_") for name in vars(module)), "an example to check by eye"
    block = catalogue()[kind]
    missing = set(block.Spec.model_fields) - {"kind"} - set(_common(kind)) - set(said.fields)
    assert not missing, f"{kind}: two values of each of {missing}"
    assert block.paper is not None or block.slot in ("op", "schedule", "loss", "controller"), (
        "a block that computes something says where it is from"
    )


@pytest.mark.parametrize("kind", kinds())
def test_specs_round_trip_and_have_a_schema(kind: str):
    block = catalogue()[kind]
    for settings in [example(kind).settings, *({**example(kind).settings, **case.settings} for case in example(kind).cases)]:
        spec = block.Spec.model_validate({"kind": kind, **settings})
        plain = spec.model_dump(mode="json", by_alias=True)
        assert block.Spec.model_validate(plain) == spec
        assert TypeAdapter(block.Spec).validate_json(spec.model_dump_json(by_alias=True)) == spec
    assert block.Spec.model_json_schema()["properties"]["kind"]["const"] == kind
    with pytest.raises(ValidationError, match="extra"):
        block.Spec.model_validate({"kind": kind, **example(kind).settings, "nonsense": 1})


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_outputs_have_the_promised_shapes_on_the_meta_device(kind: str, case: Case):
    made = make(kind, case, device="meta")
    out = made.block(**made.ports)
    assert set(made.produced) | set(made.block.states) == set(out)
    for name, info in made.produced.items():
        levels = (info.levels,) if info.levels else ()
        expected = () if info.type is Signal.LOSS else (*levels, ROWS, info.size)
        assert out[name].shape == expected, name
    for name in made.block.states:
        assert out[name].shape == getattr(made.block, name).shape


@pytest.mark.parametrize("nasty", [False, True], ids=["random", "nasty"])
@pytest.mark.parametrize(("kind", "case"), CASES)
def test_outputs_equal_the_reference(kind: str, case: Case, nasty: bool):
    reference = example(kind).reference
    if reference is None:
        pytest.skip(example(kind).no_reference)
    made = make(kind, case, nasty=nasty)
    expected = reference(made.settings, arrays(made.ports), arrays(made.tensors()))
    out = made.block(**made.ports)
    assert set(expected) == set(out)
    for name, value in expected.items():
        same(out[name].detach(), value)


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_inference_equals_the_step_or_its_own_reference(kind: str, case: Case):
    made = make(kind, case, nasty=True)
    reference = getattr(harness.module_of(kind), "reference_infer", None)
    with torch.no_grad():
        out = made.block.infer(**made.infer_ports())
        expected = reference(made.settings, arrays(made.ports), arrays(made.tensors())) if reference else made.block(**made.ports)
    for name in out:
        same(out[name], expected[name])


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_gradients_are_finite(kind: str, case: Case):
    _, _, gradients = harness.differentiate(make(kind, case, nasty=True))
    for name, value in gradients.items():
        assert value.isfinite().all(), name


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_gradients_equal_their_reference_or_finite_differences(kind: str, case: Case):
    said = example(kind)
    if said.reference_grad is not None:
        for nasty in (False, True):
            made = make(kind, case, nasty=nasty)
            _, above, gradients = harness.differentiate(made)
            expected = said.reference_grad(made.settings, arrays(made.ports), arrays(made.tensors()), arrays(above))
            assert set(expected) == set(gradients)
            for name, value in expected.items():
                same(gradients[name], value)
    elif said.reference is not None:
        _finite_differences(kind, case)


def _finite_differences(kind: str, case: Case) -> None:
    made = make(kind, case)
    _, above, gradients = harness.differentiate(made)
    ports, tensors, weights = arrays(made.ports), arrays(made.tensors()), arrays(above)
    generator = np.random.default_rng(3)

    def total() -> float:
        out = example(kind).reference(made.settings, ports, tensors)
        return sum(float((np.asarray(out[name]) * weight).sum()) for name, weight in weights.items())

    for name, gradient in gradients.items():
        owner = tensors[name] if name in tensors else _array(ports, name)
        direction = generator.standard_normal(owner.shape)
        if catalogue()[kind].slot == "loss":
            direction = np.where(owner == 0, 0.0, direction)  # the kink of |f|; penalties' tests say what its slope is taken for
        before, step = owner.copy(), 1e-6
        owner[...] = before + step * direction
        after = total()
        owner[...] = before - step * direction
        slope = (after - total()) / (2 * step)
        owner[...] = before
        same((gradient.numpy() * direction).sum(), slope, rtol=1e-5, atol=1e-6)


def _array(ports: dict, name: str) -> np.ndarray:
    port, _, index = name.partition(".")
    return ports[port][int(index)] if index else ports[port]


def _members(kind: str, case: Case) -> list[Set]:
    """Members of one structure: other parameters, other numeric settings, where the block has any."""
    made = make(kind, case)
    said = example(kind).fields
    two = {name: said[name] if name in said else _common(kind)[name] for name in made.block.settings}
    two = {name: value for name, value in two.items() if not value.given or value.given.items() <= {**made.settings}.items()}
    return [
        make(kind, case, seed=1),
        make(kind, case, seed=2, **{name: value.first for name, value in two.items()}),
        make(kind, case, seed=3, **{name: value.second for name, value in two.items()}),
    ]


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_stacked_equals_alone(kind: str, case: Case):
    members = _members(kind, case)
    program = copy.deepcopy(members[0].block)
    for name in [name for name in vars(program) if name.endswith("_bound")]:
        setattr(program, name, max(getattr(member.block, name) for member in members))
    parameters = _stack([dict(member.block.named_parameters()) for member in members])
    buffers = _stack([dict(member.block.named_buffers()) for member in members])
    ports = {name: torch.stack([flat(member.ports)[name] for member in members]) for name in tensors(members[0].ports)}

    def one(parameters: dict, buffers: dict, ports: dict) -> dict:
        given = {
            name: [ports[f"{name}.{i}"] for i in range(2)] if f"{name}.0" in ports else ports.get(name, value)
            for name, value in members[0].ports.items()
        }
        return functional_call(program, (parameters, buffers), kwargs=given)

    together = vmap(one)(parameters, buffers, ports)
    for index, member in enumerate(members):
        for name, value in member.block(**member.ports).items():
            same(together[name][index].detach(), value.detach())


def _stack(many: list[dict]) -> dict:
    return {name: torch.stack([one[name].detach() for one in many]) for name in many[0]}


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_state_dict_round_trips(kind: str, case: Case):
    first, second = make(kind, case, seed=1), make(kind, case, seed=2)
    second.block.load_state_dict(first.block.state_dict())
    for name, value in first.block(**first.ports).items():
        same(second.block(**first.ports)[name].detach(), value.detach(), rtol=0, atol=0)


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_sixteen_bit_products_stay_within_two_percent(kind: str, case: Case):
    torch.set_default_dtype(torch.float32)
    made = make(kind, case)
    with torch.no_grad():
        exact = made.block(**made.ports)
        with torch.autocast("cpu", torch.bfloat16):
            short = made.block(**made.ports)
    for name, value in exact.items():
        assert (short[name].float() - value).norm() <= 0.02 * value.norm() + 1e-6, name


@pytest.mark.parametrize(("kind", "case"), [case for case in CASES if _is_summed(*case.values)])
def test_what_comes_in_sixteen_bits_is_added_up_in_more(kind: str, case: Case, monkeypatch: pytest.MonkeyPatch):
    torch.set_default_dtype(torch.float32)
    for name, size in {"ROWS": 512, "MODEL": 16, "LATENT": 1024}.items():
        monkeypatch.setattr(harness, name, size)
    made = make(kind, case)
    ports = catalogue()[kind].ports(catalogue()[kind].Spec.model_validate({"kind": kind, **made.settings}))
    if "idle" in made.ports:
        made.ports["idle"] = made.ports["idle"].repeat(1024 // len(made.ports["idle"]))
    signals = {name for name, rule in ports.items() if not {*rule.types} & {*PARAMETERS, Signal.IDLE}}
    given = {name: converted(value, torch.bfloat16) if name in signals else value for name, value in made.ports.items()}
    exact = copy.deepcopy(made.block).double()(**{name: converted(value, torch.float64) for name, value in given.items()})
    with torch.autocast("cpu", torch.bfloat16):
        short = made.block(**given)
    for name, info in made.produced.items():
        if info.type is Signal.LOSS:
            assert short[name].dtype == torch.float32
            same(short[name].detach(), exact[name].detach(), rtol=1e-3)


def _common(kind: str) -> dict[str, Two]:
    """Two values of the fields that the slot's settings share."""
    if not issubclass(catalogue()[kind].Spec, LossSpec):
        return {"from_": _detached} if catalogue()[kind].slot in STEP_SLOTS else {}
    return {"weight": Two(0.5, 2.0), "warmup_frac": Two(0.0, 0.5), "of": _detached, "from_": _detached}


_detached = Two(None, "detached")
"""The main port wired as it is by default, and with its gradient stopped."""

FIELDS = [(kind, name) for kind in kinds() for name in catalogue()[kind].Spec.model_fields if name != "kind"]


@pytest.mark.parametrize(("kind", "name"), FIELDS)
def test_every_field_has_an_effect(kind: str, name: str):
    two = example(kind).fields.get(name) or _common(kind)[name]
    if two is _detached:
        written = catalogue()[kind].Spec.model_fields[name].alias or name
        first, second = place(kind, {}), place(kind, {written: _main_wire(kind, written)})
    else:
        written = "from" if name == "from_" else name
        first, second = (place(kind, {**two.given, written: value}, two.sae) for value in (two.first, two.second))
    before, after = trace(first), trace(second)
    assert before.shape != after.shape or not torch.equal(before, after), f"{kind}.{name} changes nothing"
    assert before.shape != after.shape or (before - after).abs().max() > 1e-9


def _main_wire(kind: str, written: str):
    graph = wire(parse(place(kind, {})), 6, catalogue())
    node = next(node for node in graph.nodes.values() if node.spec.kind == kind)
    port = next(iter(node.item.block.ports(node.spec)))
    found = [{"signal": one.local, "detach": True} for one in node.wires[port]]
    return found[0] if written == "of" else {port: found}


def test_sizes_differ_so_that_no_mixed_up_axis_goes_unseen():
    assert len({ROWS, MODEL, LATENT, harness.LEVELS}) == 4
