"""Who is ablated, and between which L0s."""

from __future__ import annotations

import pytest

from archsearch.errors import InvalidInput
from archsearch.search.ablation import around, chosen
from tests.reporting.conftest import study, trial

PLACES = {
    "an octave, in whole numbers": (16.2, 512, (11.0, 23.0)),
    "small": (3.3, 8, (2.0, 5.0)),
    "less than one latent a row": (0.3, 48, (1.0, 2.0)),
    "one": (1.0, 48, (1.0, 2.0)),
    "all latents": (48.0, 48, (24.0, 48.0)),
    "a single latent": (1.0, 1, (0.5, 1.0)),
}


@pytest.mark.parametrize("name", PLACES)
def test_the_octave_around_an_sae_lies_within_its_latents(name: str) -> None:
    l0, width, ends = PLACES[name]
    assert around(trial(0, l0, 0.1, spec={"width": width})) == ends


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "is the baseline topk"), (2, "which is failed"), (3, "effective L0 above 0; 3 has 0"), (9, "the last is 3.; got 9")],
)
def test_only_a_finished_trial_of_the_search_is_ablated(number: int, said: str) -> None:
    trials = [trial(0, 8, 0.1, baseline="topk"), trial(1, 8, 0.1), trial(2, 8, 0.1, state="failed", measurements={}), trial(3, 0, 0.9)]
    with pytest.raises(InvalidInput, match=said):
        chosen(study(trials), number)
    assert chosen(study(trials), 1).number == 1
