import random

from archsearch.search.evolution.moving import FAR, moves
from archsearch.spec.holes import ChoiceHole, FloatHole, IntHole
from tests.search.evolution.history import CHAIN, changes, material_from, parent_from

DRAWS = 60


def _moved(parent, holes, label, name):
    material = material_from(parent, holes=holes)
    found = [change for seed in range(DRAWS) for change in moves(parent, None, material, random.Random(seed))]
    return [change.document for change in found if change.how.startswith(f"set {label}.{name}:")]


def test_a_number_moves_by_a_factor_within_the_bounds_of_its_field():
    parent = parent_from({**CHAIN, "gate": {"kind": "jumprelu", "bandwidth": 0.2}}, losses={"sparsity": {"kind": "l0", "warmup_frac": 0.5}})
    found = [document["graph"]["gate"]["bandwidth"] for document in _moved(parent, {}, "gate", "bandwidth")]
    assert len({*found}) > 10 and all(0.2 / FAR <= value <= 0.2 * FAR and not 0.19 < value < 0.21 for value in found)
    shares = [document["losses"]["sparsity"]["warmup_frac"] for document in _moved(parent, {}, "losses.sparsity", "warmup_frac")]
    assert len({*shares}) > 10 and all(0 < value < 1 for value in shares)


def test_a_whole_number_stays_one_and_moves_by_one_at_least():
    graph = {**CHAIN, "encoder": {"kind": "residual_mlp_encoder", "num_blocks": 1, "hidden": 32}}
    parent = parent_from(graph)
    blocks = {document["graph"]["encoder"]["num_blocks"] for document in _moved(parent, {}, "encoder", "num_blocks")}
    assert blocks == {2, 3}  # not 0, which the field forbids


def test_a_setting_the_space_opens_stays_in_its_hole():
    training = {"tokens": 25600, "batch": 64, "optimizer": {"kind": "adam", "lr": 0.004, "beta1": 0.9}}
    parent = parent_from(CHAIN, training=training)
    holes = {("adam", "lr"): [FloatHole(0.003, 0.006, log=True)], ("adam", "beta1"): [ChoiceHole((0.0, 0.9))]}
    rates = [document["training"]["optimizer"]["lr"] for document in _moved(parent, holes, "training.optimizer", "lr")]
    assert len({*rates}) > 5 and min(rates) == 0.003 and max(rates) == 0.006
    betas = {document["training"]["optimizer"]["beta1"] for document in _moved(parent, holes, "training.optimizer", "beta1")}
    assert betas == {0.0}


def test_a_hole_that_is_not_logarithmic_is_moved_in_evenly():
    parent = parent_from({**CHAIN, "encoder": {"kind": "mlp_encoder", "hidden": 60}})
    found = {
        document["graph"]["encoder"]["hidden"]
        for document in _moved(parent, {("mlp_encoder", "hidden"): [IntHole(30, 90)]}, "encoder", "hidden")
    }
    assert all(40 <= value <= 80 for value in found) and {value < 60 for value in found} == {True, False}


def test_what_moves_sparsity_and_what_the_space_does_not_open_stay():
    parent = parent_from({**CHAIN, "gate": "relu"}, losses={"sparsity": {"kind": "l1", "warmup_frac": 0.1}}, revival="anthropic_resampling")
    how = {change.how.split(":")[0] for change in changes(moves, parent)} | {
        change.how.split(":")[0] for change in changes(moves, parent_from(CHAIN))
    }
    assert how and not {each for each in how if "training" in each or "revival" in each or "init" in each}
    assert not how & {"set gate.k", "set losses.sparsity.weight", "set losses.reconstruction.weight"}
    assert {"set losses.sparsity.warmup_frac", "set encoder.bias", "set decoder.norm"} <= how
