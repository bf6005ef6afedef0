from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.errors import DataError
from archsearch.training.checkpoint import load_member, save_member
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import Member, start
from tests.blocks.harness import base, data


def _fresh(k: int = 2, **training: Any) -> Member:
    document = base(**{"tokens": 16 * 40, **training})
    document["graph"] |= {"gate": {"kind": "batch_topk", "k": k}, "decoder": "linear_decoder"}
    document["losses"] = {"dead": {"kind": "aux_k", "dead_after_frac": 0.075}}
    document["revival"] = {"kind": "anthropic_resampling", "at_frac": [0.5, 0.75], "window_frac": 0.125}
    return start(parse(document), data(), data())


@pytest.mark.parametrize("half", [0.5, 0.6], ids=["at-an-event", "between-events"])
def test_half_a_run_saved_and_continued_equals_a_straight_one_bit_for_bit(tmp_path: Path, half: float):
    straight, first, second = _fresh(), _fresh(), _fresh()
    train([straight], Looped())
    train([first], Looped(), until_frac=half)
    save_member(first, tmp_path / "a.safetensors", "run")
    assert load_member(second, tmp_path / "a.safetensors", "run")
    assert second.step == first.step == round(40 * half) and second.history == first.history
    train([second], Looped())
    assert second.history == straight.history and second.events == straight.events
    for name, value in straight.sae.state_dict().items():
        assert torch.equal(second.sae.state_dict()[name], value), name
    for name, moments in straight.moments.items():
        for key, value in moments.items():
            assert torch.equal(second.moments[name][key], value)


def test_nothing_partial_is_left_behind(tmp_path: Path):
    save_member(_fresh(), tmp_path / "deep" / "a.safetensors", "run")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.safetensors"]


def test_a_damaged_file_is_refused(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_member(_fresh(), path, "run")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="cannot be read"):
        load_member(_fresh(), path, "run")


def test_another_run_is_left_alone(tmp_path: Path):
    save_member(_fresh(k=2), tmp_path / "a.safetensors", "one run")
    member = _fresh(k=2)
    before = {name: value.clone() for name, value in member.sae.state_dict().items()}
    assert not load_member(member, tmp_path / "a.safetensors", "another")
    assert member.step == 0 and all(torch.equal(value, before[name]) for name, value in member.sae.state_dict().items())
