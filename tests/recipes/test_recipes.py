from __future__ import annotations

import pytest

from archsearch.assembler.parse import parse
from archsearch.errors import InvalidInput
from archsearch.evaluation.metrics import evaluate
from archsearch.recipes import names, recipe
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from tests.blocks.harness import data

PUBLISHED = [
    "abs_topk",
    "archetypal_topk",
    "batch_topk",
    "crosscoder_l1",
    "feature_choice",
    "gated",
    "gated_ri_l1",
    "groupmax",
    "h_sae",
    "hierarchical_topk",
    "jumprelu",
    "jumprelu_tanh",
    "kron_topk",
    "lista_batch_topk",
    "matching_pursuit",
    "matryoshka_batch_topk",
    "matryoshka_random",
    "ort_sae",
    "prolu",
    "relu_l1",
    "relu_l1_april",
    "relu_p_annealed",
    "relu_sqrt",
    "switch",
    "topk",
    "transcoder_topk",
]


def test_the_recipes_are_these():
    assert names() == PUBLISHED


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_assembles_and_trains(name: str):
    document = recipe(name)
    document["width"] = 64
    document["training"] |= {"tokens": 16 * 1500, "batch": 16}
    rows = data(tuple(document.get("inputs", ["x"])))
    member = start(parse(document), rows, rows)
    train([member], Looped(), until_frac=2 / 1500)
    assert member.step == 2 and member.failure is None
    assert evaluate(member.sae, rows).fvu > 0


def test_each_call_gives_a_copy_of_its_own():
    recipe("topk")["width"] = 3
    assert recipe("topk")["width"] != 3


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(InvalidInput, match="did you mean 'batch_topk'"):
        recipe("batchtopk")
