"""Spaces whose SAEs are trained through the language model: what is refused before anything is trained, and where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archsearch.activations import open_activations
from archsearch.activations.data import Activations
from archsearch.assembler.check import check_space
from archsearch.errors import InvalidInput
from archsearch.search.guards import fitting
from archsearch.spec.activations import SyntheticSource
from archsearch.spec.space import Space
from tests.blocks.harness import data
from tests.blocks.toy_model import LATER, toy_windows

SPACE = """
name: tiny
question: Does the machinery hold?
activations: {source: bundled}
sae:
  width: 48
  graph: {center: pre_bias, encoder: linear_encoder, gate: {kind: topk, k: {int: [1, 8], log: true}}, decoder: linear_decoder}
  training: {tokens: 2560, batch: 64}
variants:
  loss:
    oneof:
      local: {}
      through: {losses.reconstruction: {kind: spliced_kl}}
baselines: []
study: {trials: 6, sweep: 3, band: [1, 8]}
"""


def _space(tmp_path: Path, *changes: tuple[str, str]) -> Space:
    text = SPACE
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "tiny.yaml").write_text(text)
    return Space.load(tmp_path / "tiny.yaml")


def _activations(**more: Any) -> Activations:
    plain = open_activations(SyntheticSource(source="synthetic", features=8, model=6, active=2, rows=64, eval_rows=32))
    return replace(plain, **more)


def test_a_source_with_a_model_will_do(tmp_path: Path):
    space = _space(tmp_path)
    check_space(space, model=6)
    fitting(space, _activations(make_windows=toy_windows(data())), {})


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{source: synthetic, features: 8, model: 6, active: 2}", "spliced_kl needs a language model to splice into"),
        ("{source: file, path: rows.npy}", "spliced_kl needs a language model to splice into"),
        ("{source: model, model: m, hook: h, data: d, dtype: bfloat16}", "needs the language model in 32 bits .* `dtype: bfloat16`"),
    ],
)
def test_a_source_without_one_is_refused_by_the_check_at_the_branch(tmp_path: Path, source: str, said: str):
    with pytest.raises(InvalidInput, match=rf"tiny\.yaml:13 -> variants\.loss\.oneof\.through.*{said}"):
        check_space(_space(tmp_path, ("{source: bundled}", source)), model=6)


def test_batches_of_no_whole_windows_are_refused_once_the_windows_are_known(tmp_path: Path):
    space = _space(tmp_path, ("batch: 64", "batch: 63"))
    with pytest.raises(InvalidInput, match=r"tiny\.yaml:8 -> sae\.training\.batch: must hold whole windows, of 2 rows each.*take 62 or 64"):
        fitting(space, _activations(make_windows=toy_windows(data())), {})


def test_hook_points_that_nothing_reaches_are_refused_with_their_line(tmp_path: Path):
    later = "{kind: downstream_squared_error, hooks: [%s]}"
    behind = _space(tmp_path, ("{kind: spliced_kl}", later % LATER[0]))
    fitting(behind, _activations(make_windows=toy_windows(data())), {})
    before = _space(tmp_path, ("{kind: spliced_kl}", later % "x"))
    with pytest.raises(InvalidInput, match=r"tiny\.yaml:13 -> .*what is put there does not reach 'x'"):
        fitting(before, _activations(make_windows=toy_windows(data())), {})


def test_the_model_is_not_opened_for_sparse_autoencoders_that_need_none(tmp_path: Path):
    def never() -> Any:
        raise AssertionError("opened")

    space = _space(tmp_path, ("{kind: spliced_kl}", "{kind: squared_error}"))
    fitting(space, _activations(make_windows=never), {})
