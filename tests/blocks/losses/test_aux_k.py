from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.losses.aux_k import AuxK
from archsearch.blocks.signals import Info, Signal, Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import LEVELS, Case, Example, Two, base


def reference(settings, ports, tensors):
    pre = ports["pre"]
    guess = ports["reconstruction"]
    error = ports["target"] - (guess[-1] if guess.ndim == 3 else guess)
    count, model = settings["k_aux"] or error.shape[1] // 2, error.shape[1]
    dead = [i for i in range(pre.shape[1]) if "idle" in ports and ports["idle"][i] >= settings["dead_after_frac"]]
    missed, any_chosen = 0.0, False
    for row, values in enumerate(pre):
        among = dead if "idle" in ports else [i for i, value in enumerate(ports["code"][row]) if value == 0]
        strength = np.maximum(values, 0.0) if settings["candidates"] == "relu" else values
        scores = abs(strength) if settings["candidates"] == "magnitude" else strength
        ranked = torch.tensor([scores[i] if i in among else -np.inf for i in range(len(values))])
        # Which of several equal values is chosen is the library's choice: the reference takes it.
        chosen = [i for i in ranked.topk(min(count, len(values))).indices.tolist() if i in among]
        assert sorted(scores[chosen]) == sorted(scores[i] for i in among)[len(among) - len(chosen) :]
        any_chosen |= bool(chosen)
        rebuilt = ports["bias"].copy() if settings["bias"] == "added" else np.zeros(model)
        for i in chosen:
            rebuilt = rebuilt + strength[i] * ports["dictionary"][i]
        missed += sum((error[row] - rebuilt) ** 2) / len(pre)
    if not any_chosen:
        return {"loss": 0.0}
    share = min(len(dead) / count, 1)
    factors = {
        "plain": 1.0,
        "dead_share": share,
        "fvu": model / _variance(error),
        "target_variance": share * model / _variance(ports["target"]),
    }
    return {"loss": missed * factors[settings["scale"]]}


def _variance(values: np.ndarray) -> float:
    return np.mean(((values - values.mean(0)) ** 2).sum(-1))


def _sae(spec):
    document = base()
    document["graph"]["gate"] = {"kind": "topk", "k": 1}
    document["losses"] = {"term": spec}
    return document


def _weighed(spec):
    """A loss in which the term is not all there is, in a run long enough for the default `dead_after_frac`."""
    document = _sae(spec)
    document["losses"] = {"reconstruction": "squared_error", **document["losses"]}
    document["training"]["tokens"] = 320
    return document


EXAMPLE = Example(
    settings={"dead_after_frac": 0.16},
    cases=(
        Case(),
        Case({"candidates": "raw", "scale": "dead_share", "k_aux": 7}),
        Case({"k_aux": 1}, levels=LEVELS),
        Case({"scale": "dead_share"}),
        Case({"dead_after_frac": 0.5}),  # latents idle for just as long are dead
        Case({"dead_after_frac": 0.9}),
        Case({"candidates": "magnitude", "scale": "plain"}),
        Case({"bias": "added", "scale": "target_variance", "k_aux": 7}),
        Case({"eligible": "unused", "dead_after_frac": 0.05, "scale": "plain", "k_aux": 4}),
        Case({"error_gradient": True}),
    ),
    fields={
        "weight": Two(0.1, 2.0),
        "k_aux": Two(1, 3),
        "dead_after_frac": Two(0.1, 0.4),
        "eligible": Two("dead", "unused", {"dead_after_frac": 0.05}, _weighed),
        "candidates": Two("relu", "raw"),
        "scale": Two("fvu", "dead_share"),
        "bias": Two("none", "added"),
        "error_gradient": Two(False, True, sae=_weighed),
        "encoder_gradient": Two(False, True),
    },
    reference=reference,
    constants=("target", "reconstruction", "code"),
    sae=_sae,
)


# What each named implementation computes, in its own words and order: `live` carries gradients, `still` is the same without them.

ROWS, MODEL, LATENT = 6, 5, 8
DEAD = np.array([0, 1, 0, 1, 1, 0, 1, 0], dtype=bool)
K = 2


def _top(values: np.ndarray, count: int) -> np.ndarray:
    """A mask of the `count` largest of each row."""
    mask = np.zeros(values.shape, dtype=bool)
    np.put_along_axis(mask, np.argsort(-values, axis=1)[:, :count], True, axis=1)
    return mask


def _among_dead(score: np.ndarray, k_aux: int) -> np.ndarray:
    return _top(np.where(DEAD, score, -np.inf), min(k_aux, DEAD.sum()))


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def _openai(live, still, k_aux):
    masked = live["pre"] * DEAD
    values = _relu(masked * _top(masked, k_aux))
    guess = values @ live["dictionary"] + live["bias"]
    wanted = still["target"] - still["reconstruction"] + still["bias"]
    return ((guess - wanted) ** 2).mean() / ((wanted.mean(0) - wanted) ** 2).mean()


def _dictionary_learning(live, still, k_aux):
    acts = _relu(live["pre"])
    residual = still["target"] - still["reconstruction"]
    rebuilt = (acts * _among_dead(acts, k_aux)) @ live["dictionary"]
    return ((residual - rebuilt) ** 2).sum(-1).mean() / ((residual - residual.mean(0)) ** 2).sum(-1).mean()


def _sae_lens(live, still, k_aux):
    rebuilt = (live["pre"] * _among_dead(live["pre"], k_aux)) @ live["dictionary"]
    residual = still["target"] - still["reconstruction"]
    return min(DEAD.sum() / k_aux, 1) * ((rebuilt - residual) ** 2).sum(-1).mean()


def _sae_lens_abs(live, still, k_aux):
    rebuilt = (live["pre"] * _among_dead(abs(live["pre"]), k_aux)) @ live["dictionary"]
    residual = still["target"] - still["reconstruction"]
    return min(DEAD.sum() / k_aux, 1) * ((rebuilt - residual) ** 2).sum(-1).mean()


def _sparsify(live, still, k_aux):
    acts = _relu(still["pre"])  # its fused encoder passes no gradient of these
    rebuilt = (acts * _among_dead(acts, k_aux)) @ live["dictionary"] + live["bias"]
    error = still["target"] - still["reconstruction"]
    total = ((still["target"] - still["target"].mean(0)) ** 2).sum()
    return min(DEAD.sum() / k_aux, 1) * ((rebuilt - error) ** 2).sum() / total


def _batch_topk(live, still, k_aux):
    acts = _relu(live["pre"][:, DEAD])
    rebuilt = (acts * _top(acts, min(k_aux, DEAD.sum()))) @ live["dictionary"][DEAD]
    return ((rebuilt - (still["target"] - live["reconstruction"])) ** 2).mean()


def _open_moss(live, still, k_aux):
    masked = live["pre"] * DEAD
    rebuilt = _relu(masked * _top(masked, min(k_aux, DEAD.sum()))) @ live["dictionary"]
    return ((still["target"] - live["reconstruction"] - rebuilt) ** 2).sum(-1).mean()


def _overcomplete(live, still, k_aux):
    acts = _relu(live["pre"])
    left = acts - acts * _top(still["pre"], K)
    rebuilt = (left * _top(left, LATENT // 2)) @ live["dictionary"]
    return ((still["target"] - live["reconstruction"] - rebuilt) ** 2).mean()


SHARE, ATTACHED = {"scale": "dead_share"}, {"scale": "plain", "error_gradient": True}
NAMED = {  # formula, settings, what a sum over the model's dimensions is of its unit
    "openai": (_openai, {"bias": "trained"}, MODEL),
    "dictionary_learning": (_dictionary_learning, {}, MODEL),
    "sae_lens": (_sae_lens, {"candidates": "raw", **SHARE}, 1),
    "sae_lens_abs_topk": (_sae_lens_abs, {"candidates": "magnitude", **SHARE}, 1),
    "sparsify": (_sparsify, {"scale": "target_variance", "bias": "added", "encoder_gradient": False}, MODEL),
    "batch_topk": (_batch_topk, ATTACHED, MODEL),
    "open_moss": (_open_moss, ATTACHED, 1),
    "overcomplete": (_overcomplete, {"eligible": "unused", **ATTACHED}, MODEL),
}


def _ports() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(5).standard_normal
    shapes = {"pre": (ROWS, LATENT), "dictionary": (LATENT, MODEL), "bias": (MODEL,)}
    return {name: draw(shape) for name, shape in {**shapes, "target": (ROWS, MODEL), "reconstruction": (ROWS, MODEL)}.items()}


@pytest.mark.parametrize("k_aux", [2, 7])  # fewer than the dead latents, and more
@pytest.mark.parametrize(("formula", "settings", "unit"), NAMED.values(), ids=NAMED.keys())
def test_settings_give_the_form_and_the_gradients_of_each_named_implementation(formula, settings, unit, k_aux: int):
    still = _ports()
    space = (Info(Signal.ACTIVATION, MODEL),)
    count = LATENT // 2 if settings.get("eligible") else k_aux
    loss = AuxK(AuxK.Spec(k_aux=count, **settings), Sizes(MODEL, LATENT, {"reconstruction": space, "target": space})).double()
    leaves = {name: torch.tensor(value, requires_grad=name != "target") for name, value in still.items()}
    given = {"idle": torch.tensor(DEAD * 0.5), "code": torch.tensor(_relu(still["pre"]) * _top(still["pre"], K)), **leaves}
    value = loss(**{name: given[name] for name in AuxK.ports(AuxK.Spec(**settings))})["loss"]
    assert value.item() == pytest.approx(unit * formula(still, still, k_aux), rel=1e-12)
    learned = [name for name in leaves if name != "target"]
    found = torch.autograd.grad(value, [leaves[name] for name in learned], allow_unused=True, materialize_grads=True)
    for name, gradient in zip(learned, found):
        expected = np.zeros_like(still[name])
        for index in np.ndindex(expected.shape):
            step = np.zeros_like(expected)
            step[index] = 1e-6
            ahead, behind = (formula({**still, name: still[name] + sign * step}, still, k_aux) for sign in (1, -1))
            expected[index] = unit * (ahead - behind) / 2e-6
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=1e-5, atol=1e-7, err_msg=name)


def _loss(**settings) -> AuxK:
    space = (Info(Signal.ACTIVATION, 2),)
    sizes = Sizes(2, 3, {"reconstruction": space, "target": space})
    return AuxK(AuxK.Spec(**{"dead_after_frac": 0.1, **settings}), sizes)


DICTIONARY = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])


def test_only_dead_latents_rebuild_the_error():
    # Error (0, 2); latent 1 is dead with pre-activation 2, latent 0 is alive though larger: nothing is missed. k_aux = 2 // 2 = 1.
    loss = _loss(scale="dead_share")
    pre, idle = torch.tensor([[9.0, 2.0, 1.0]]), torch.tensor([0.0, 0.25, 0.25])
    target, guess = torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]])
    assert loss(pre, DICTIONARY, target, guess, idle=idle)["loss"] == 0.0


def test_latents_that_are_off_in_the_row_rebuild_the_error_dead_or_not():
    # As above, but latent 0 is on and latent 1 merely off in this row.
    loss = _loss(eligible="unused", dead_after_frac=0.05, scale="plain", k_aux=1)
    pre, code = torch.tensor([[9.0, 2.0, 1.0]]), torch.tensor([[9.0, 0.0, 0.0]])
    assert loss(pre, DICTIONARY, torch.tensor([[1.0, 3.0]]), torch.tensor([[1.0, 1.0]]), code=code)["loss"] == 0.0


@pytest.mark.parametrize("error_gradient", [False, True])
@pytest.mark.parametrize("scale", ["fvu", "dead_share", "plain", "target_variance"])
@pytest.mark.parametrize(("idle", "shift"), [([0.0] * 3, 1.0), ([0.5] * 3, 0.0)], ids=["none-dead", "no-error"])
def test_no_dead_latents_and_no_error_give_zero_and_no_nan(scale: str, idle: list[float], shift: float, error_gradient: bool):
    pre = torch.full((2, 3), -1.0, requires_grad=True)
    target = torch.tensor([[1.0, 3.0], [0.0, 1.0]])
    guess = (target - shift * torch.tensor([[1.0], [2.0]])).requires_grad_()
    loss = _loss(scale=scale, error_gradient=error_gradient)
    value = loss(pre, DICTIONARY, target, guess, idle=torch.tensor(idle))["loss"]
    value.backward()
    assert value == 0.0 and pre.grad.isfinite().all() and (guess.grad is None or guess.grad.isfinite().all())


def test_the_error_is_a_constant_unless_told():
    for attached in (False, True):
        guess = torch.ones(1, 2, requires_grad=True)
        pre = torch.ones(1, 3, requires_grad=True)
        loss = _loss(scale="dead_share", error_gradient=attached)
        loss(pre, DICTIONARY, torch.zeros(1, 2), guess, idle=torch.full((3,), 0.75))["loss"].backward()
        assert (guess.grad is not None) == attached and pre.grad.abs().sum() > 0


def test_settings_that_cannot_act_are_refused():
    for scale in ("dead_share", "target_variance"):
        with pytest.raises(ValidationError, match="counts dead latents"):
            AuxK.Spec(eligible="unused", scale=scale)
    with pytest.raises(ValidationError, match=r"dead_after_frac: 0\.2 cannot act with eligible: unused"):
        AuxK.Spec(eligible="unused", dead_after_frac=0.2)


def test_a_bias_that_is_not_there_cannot_be_added():
    document = _weighed({"kind": "aux_k", "bias": "added"})
    document["graph"]["decoder"] = {"kind": "linear_decoder", "bias": False}
    with pytest.raises(AssemblyError, match="needs a signal of type bias for port 'bias'"):
        assemble(parse(document), model=6)
