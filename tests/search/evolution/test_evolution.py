import json
from dataclasses import replace
from pathlib import Path

import pytest

from archsearch.errors import InvalidInput
from archsearch.search.evolution.evolution import Evolution, Genome
from archsearch.search.evolution.limits import ROOM, Limits
from archsearch.search.records import TrialRecord
from archsearch.spec.space import Space
from tests.search.evolution.history import SPACE, evolution_of, evolved, kinds, space_of, trials_of

ASKS, SEED = 120, 2

Study = tuple[list[Genome], list[TrialRecord]]


SPACES = sorted((Path(__file__).parents[3] / "spaces").glob("*.yaml"))

VERBS = ("fill", "swap", "insert", "remove", "wire", "set", "take")
"""What an operator's words begin with."""

WANTED = {"lista_encoder", "jumprelu"}
"""Two kinds that the space has nowhere, and that the made-up measurements reward."""


def planted(trial: TrialRecord) -> float:
    """Returns an FVU that falls with L0, with each of the wanted kinds, and by a whim of the architecture."""
    found = WANTED & {*kinds(trial.spec)}
    return 0.9 - 0.01 * trial.measurements["l0"] ** 0.5 - 0.2 * len(found) - int(trial.arch[:4], 16) / 2**20


@pytest.fixture(scope="module")
def evolution() -> Evolution:
    return evolution_of(space_of(), SEED)


@pytest.fixture(scope="module")
def study() -> Study:
    return evolved(space_of(), ASKS, planted, SEED)


def test_every_proposal_is_a_legal_run_of_its_own(study: Study):
    genomes, trials = study
    assert len(genomes) == ASKS  # each was assembled again when its trial was written
    assert len({trial.run for trial in trials}) == ASKS


def test_every_proposal_is_legal_at_every_l0():
    levels = [3, 12, 48]
    genomes, trials = evolved(space_of(study={**SPACE["study"], "sweep": {"l0": levels}, "band": [2, 60]}), 18, planted)
    assert len(genomes) == 18 and len({trial.run for trial in trials}) == 18 * len(levels)


def test_no_child_costs_more_than_the_largest_of_the_space(study: Study, evolution: Evolution):
    genomes, trials = study
    origin = evolution.origin
    assert max(trial.measurements["flops"] for trial in trials) <= origin.most.flops == max(size.flops for _, size in origin.shown)
    assert max(trial.measurements["parameters"] for trial in trials) <= origin.most.parameters
    assert origin.most.blocks < max(len(kinds(genome.document)) for genome in genomes) <= ROOM * origin.most.blocks


@pytest.mark.slow
@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_proposals_for_the_spaces_of_this_repository_are_legal_at_every_l0_and_within_the_caps(path: Path):
    space = Space.load(path)
    genomes, trials = evolved(space, 60, lambda trial: 0.5 - int(trial.arch[:4], 16) / 2**18)
    most = evolution_of(space).origin.most
    assert len(genomes) == 60 and len({trial.run for trial in trials}) == len(trials)
    assert all(trial.measurements["flops"] <= most.flops and trial.measurements["parameters"] <= most.parameters for trial in trials)
    assert {change.split()[0] for genome in genomes for change in genome.how.split("; ")} == {*VERBS}


def test_width_tokens_and_batch_stay(study: Study):
    for genome in study[0]:
        training = genome.document["training"]
        assert (genome.document["width"], training["tokens"], training["batch"]) == (48, 25600, 64)
        assert 0.001 <= training["optimizer"]["lr"] <= 0.01


def test_every_operator_is_used_and_says_what_it_did(study: Study):
    words = [change.split()[0] for genome in study[0] for change in genome.how.split("; ")]
    assert {*words} == {*VERBS}
    assert words.count("fill") == 8


def test_parents_are_earlier_asks_and_two_only_where_something_is_taken(study: Study):
    for ask, genome in enumerate(study[0]):
        assert all(parent < ask for parent in genome.parents)
        assert len(genome.parents) == (0 if genome.how == "fill" else 2 if "take " in genome.how else 1)


def test_graphs_are_found_that_no_fill_of_the_space_has(study: Study, evolution: Evolution):
    shown = {kind for parent, _ in evolution.origin.shown for kind in kinds(parent.document)}
    assert len({kind for genome in study[0] for kind in kinds(genome.document)} - shown) > 15


def test_the_same_history_gives_the_same_proposal(study: Study, evolution: Evolution):
    genomes, trials = study
    stored = [replace(trial, spec=json.loads(json.dumps(trial.spec))) for trial in trials]
    for ask in (ASKS - 1, 90, 40, 9, 8, 3):  # in whatever order, and where later trials are there already
        assert evolution.propose(ask, 0, stored) == genomes[ask]


def test_another_attempt_and_another_seed_give_another_proposal(study: Study, evolution: Evolution):
    genomes, trials = study
    assert evolution.propose(40, 1, trials) != genomes[40] != evolution_of(space_of(), seed=SEED + 1).propose(40, 0, trials)


def test_every_branch_has_its_turn_among_the_first(study: Study):
    first = [kinds(genome.document) for genome in study[0][:3]]
    assert {next(kind for kind in found if kind in ("topk", "batch_topk", "relu")) for found in first} == {"topk", "batch_topk", "relu"}
    encoders = [tuple(kind for kind in found if kind.endswith("_encoder")) for found in first]
    assert {*encoders} == {("linear_encoder",), ("mlp_encoder",), ("linear_encoder", "mlp_encoder")}


def test_a_combination_that_the_space_does_not_contain_is_found_and_built_on(study: Study, evolution: Evolution):
    shown = [{*kinds(parent.document)} for parent, _ in evolution.origin.shown]
    assert not any(WANTED & found for found in shown)
    hits = [ask for ask, genome in enumerate(study[0]) if {*kinds(genome.document)} >= WANTED]
    assert len(hits) > (ASKS - hits[0]) / 4


def test_a_sweep_that_is_not_over_l0_is_refused():
    sae = {**SPACE["sae"], "graph": {**SPACE["sae"]["graph"], "gate": {"kind": "topk", "k": {"int": [2, 8]}}}}
    for changed in ({"sae": sae, "variants": {}, "study": {"sweep": 4}}, {"sae": {**SPACE["sae"], "target_l0": 4}, "study": {}}):
        with pytest.raises(InvalidInput, match=r"study\.sweep: .*over L0 itself"):
            evolution_of(space_of(**changed))


def test_trials_that_are_running_are_no_parents_but_are_not_proposed_again(study: Study, evolution: Evolution):
    _, trials = study
    running = [replace(trial, state="running", measurements={}) for trial in trials if trial.ask < 9]
    assert evolution.propose(9, 0, running).how == "fill"
    own = [replace(trial, ask=4, state="running") for trial in trials if trial.ask == 5]  # what ask 5 would be, had 4 not been the same
    assert evolution.propose(5, 0, own) != study[0][5]


def _with_baseline(tokens: int) -> tuple[Space, list[TrialRecord]]:
    """Returns a space with a baseline, which alone is measured, trained on some tokens, and nothing but it told."""
    tree = {"width": 48, "graph": {"encoder": "tied_encoder", "gate": "topk", "decoder": "linear_decoder"}}
    tree |= {"training": {"tokens": tokens, "batch": 64}}
    space = space_of(baselines={"plain": {**tree, "training": {**tree["training"], "optimizer": {"kind": "adam", "lr": 0.003}}}})
    baseline = trials_of(Genome(tree, (), "baseline"), 0, 0, space, lambda trial: 0.3)
    return space, [replace(trial, baseline="plain") for trial in baseline]


def test_a_baseline_is_a_parent_where_it_is_trained_as_long():
    space, trials = _with_baseline(25600)
    assert evolution_of(space).propose(9, 0, trials).parents == (0,)
    space, trials = _with_baseline(51200)
    assert evolution_of(space).propose(9, 0, trials).how == "fill"


def test_where_nothing_new_is_legal_it_says_so(monkeypatch: pytest.MonkeyPatch, study: Study, evolution: Evolution):
    monkeypatch.setattr(Limits, "legal", lambda *_: None)
    with pytest.raises(InvalidInput, match="ask 20: neither a change of the best structures nor one of 20 fills"):
        evolution.propose(20, 0, study[1])
