from __future__ import annotations

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.blocks.revivals.anthropic_resampling import AnthropicResampling
from archsearch.errors import InvalidInput
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from archsearch.training.view import view
from tests.blocks.harness import Example, Two, base, data


def _sae(spec):
    document = base(tokens=256)
    document["width"] = 24
    document["graph"]["gate"] = {"kind": "topk", "k": 1}
    document["losses"] = {}
    document["revival"] = spec
    return document


EXAMPLE = Example(
    settings={"at_frac": [0.5]},
    fields={
        "at_frac": Two([0.5], [0.75]),
        "window_frac": Two(0.0625, 0.4),
        "scale": Two(0.2, 0.5),
        "subset_rows": Two(40, 200),
    },
    no_reference="draws; each effect is tested here on given latents",
    sae=_sae,
)

DEAD = [3, 7]


@pytest.fixture
def halfway():
    """A member some steps into its run, with two latents declared dead, and copies of everything before the event."""
    member = start(parse(_sae({"kind": "anthropic_resampling", "at_frac": [0.9]})), data(), data(), precision="float64")
    train([member], Looped(), until_frac=0.5)
    block = member.sae.block("encoder")
    block.bias.data += 0.3
    idle = member.sae.idle["gate"].rows
    idle.zero_()
    idle[DEAD] = 1e9
    before = {name: value.clone() for name, value in member.sae.state_dict().items()}
    moments = {name: {key: value.clone() for key, value in one.items()} for name, one in member.moments.items()}
    told = member.assembly.revival.apply_to(view(member), torch.Generator().manual_seed(0))
    assert told == {"revived": 2.0}
    return member, before, moments


def test_a_dead_latent_points_at_an_input(halfway):
    member, _, _ = halfway
    seen = member.sae.signals(member.sae.scale(data()))["center.x"]
    rows = seen / seen.norm(dim=-1, keepdim=True)
    dictionary, encoder = member.sae.block("decoder").dictionary.data, member.sae.block("encoder").weight.data
    alive = [i for i in range(24) if i not in DEAD]
    for latent in DEAD:
        assert (rows - dictionary[latent]).norm(dim=-1).min() < 1e-12, "an input's unit vector"
        torch.testing.assert_close(encoder[latent], dictionary[latent] * 0.2 * encoder[alive].norm(dim=-1).mean())
    assert not torch.equal(dictionary[DEAD[0]], dictionary[DEAD[1]]), "drawn without replacement"
    assert (member.sae.block("encoder").bias[DEAD] == 0).all()


def test_moments_of_the_dead_are_reset_and_nothing_else_changes(halfway):
    member, before, moments = halfway
    alive = [i for i in range(24) if i not in DEAD]
    for name, value in member.sae.state_dict().items():
        if value.dim() and len(value) == 24:
            assert torch.equal(value[alive], before[name][alive]), name
        else:
            assert torch.equal(value, before[name]), name
    for name, one in member.moments.items():
        for key, value in one.items():
            if len(value) == 24:
                fresh = 0 if key == "mean" else moments[name][key][alive].mean(0)
                assert torch.allclose(value[DEAD], torch.as_tensor(fresh).to(value)) and torch.equal(
                    value[alive], moments[name][key][alive]
                )
            else:
                assert torch.equal(value, moments[name][key])
    assert (member.sae.idle["gate"].rows[DEAD] == 0).all()


@pytest.mark.parametrize("beta1", [0.0, 0.9])
def test_a_planted_direction_outlives_the_next_steps(beta1: float):
    """Zeroed second moments under a bias correction long past would throw the direction away within five steps."""
    document = _sae({"kind": "anthropic_resampling", "at_frac": [0.5]})
    document["training"] |= {"tokens": 16 * 800, "batch": 16, "optimizer": {"kind": "adam", "lr": 1e-3, "beta1": beta1}}
    member = start(parse(document), data(), data(), precision="float64")
    train([member], Looped(), until_frac=0.45)
    member.sae.idle["gate"].rows[DEAD] = 1e9
    member.assembly.revival.apply_to(view(member), torch.Generator().manual_seed(0))
    planted = member.sae.block("decoder").dictionary.data[DEAD].clone()
    Looped().advance([member], 5)
    now = member.sae.block("decoder").dictionary.data[DEAD]
    assert ((planted * now).sum(-1) > 0.95).all()


def test_an_encoder_without_directions_is_refused():
    document = _sae({"kind": "anthropic_resampling", "at_frac": [0.5]})
    document["graph"]["encoder"] = {"kind": "mlp_encoder", "hidden": 8}
    with pytest.raises(InvalidInput, match="nothing to point at an input"):
        start(parse(document), data(), data())


def test_inputs_are_drawn_by_the_square_of_their_loss():
    """Two inputs carry all the error, one three times as much: it is drawn nine times in ten."""
    member = start(parse(_sae({"kind": "anthropic_resampling", "at_frac": [0.9]})), data(), data(), precision="float64")
    rows = member.sae.scale(data())
    centred = member.sae.signals(rows)["center.x"]
    often, seldom = (centred[index] / centred[index].norm() for index in (17, 3))
    losses = torch.zeros(len(centred), dtype=torch.float64)
    losses[17], losses[3] = 3.0, 1.0
    seen = view(member)
    seen.row_loss, seen.sample = lambda rows: losses, lambda count, generator: rows
    dictionary, idle, drawn = member.sae.block("decoder").dictionary.data, member.sae.idle["gate"].rows, 0
    for seed in range(300):
        idle[5] = 1e9
        member.assembly.revival.apply_to(seen, torch.Generator().manual_seed(seed))
        drawn += torch.allclose(dictionary[5], often)
        assert torch.allclose(dictionary[5], often) or torch.allclose(dictionary[5], seldom)
    assert 0.85 < drawn / 300 < 0.95


@pytest.mark.parametrize(("at", "what"), [([0.0001], "cannot act"), ([1.0], "cannot act"), ([0.05], "no latent can be dead yet")])
def test_events_that_cannot_act_are_refused(at: list[float], what: str):
    revival = AnthropicResampling(AnthropicResampling.Spec(at_frac=at, window_frac=0.1))
    with pytest.raises(InvalidInput, match=what):
        revival.steps(1000, 64)


def test_shares_become_steps():
    assert AnthropicResampling(AnthropicResampling.Spec(at_frac=[0.75, 0.25], window_frac=0.1)).steps(1000, 64) == [250, 750]
