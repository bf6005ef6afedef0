"""SAELens as `benchmarks.search` uses it: a document of benchmarks/search.yaml trained by its trainer, saved in its own form, read again.

Needs SAELens (`make .venv-peer/.installed`). What a setting of ours is called there is tested in tests/peers, in float64.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from archsearch.training.batches import Batches

with warnings.catch_warnings():  # it warns while it is imported
    warnings.simplefilter("ignore")
    from sae_lens.config import SAETrainerConfig
    from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
    from sae_lens.saes.gated_sae import GatedTrainingSAE, GatedTrainingSAEConfig
    from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
    from sae_lens.saes.matryoshka_batchtopk_sae import MatryoshkaBatchTopKTrainingSAE, MatryoshkaBatchTopKTrainingSAEConfig
    from sae_lens.saes.sae import SAE
    from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

MODEL = 128
MEMORY = 100
"""Batches our running threshold remembers: there, one over the rate it moves by."""

QUIET: dict[str, Any] = {"rescale_acts_by_decoder_norm": False, "aux_loss_coefficient": 0.0}
"""Choose by pre-activations as they are, and leave dead latents alone, as the space does."""


def scaled(activations: Any) -> tuple[Tensor, Tensor]:
    """Returns train and validate rows times one factor, fitted on calibrate rows as ours is: E|x|^2 = d."""
    splits = [next(iter(activations.split(split).values())).float() for split in ("train", "validate", "calibrate")]
    factor = (splits[2].shape[-1] / splits[2].double().square().sum(-1).mean()).sqrt().float()
    return splits[0] * factor, splits[1] * factor


def training_sae(document: dict[str, Any], **settings: Any) -> Any:
    """Returns the training SAE a document stands for; `settings` go to its configuration (`d_in`, `dtype`)."""
    graph, weight = document["graph"], document.get("losses", {}).get("sparsity", {}).get("weight")
    gate = graph["gate"] if isinstance(graph["gate"], dict) else {"kind": graph["gate"]}
    init = document["init"]["norm"]
    common = {"d_in": MODEL, "d_sae": document["width"], "decoder_init_norm": init, "apply_b_dec_to_input": True, **settings}
    match gate["kind"]:
        case "relu":
            return StandardTrainingSAE(StandardTrainingSAEConfig(**common, l1_coefficient=weight))
        case "gated":
            return GatedTrainingSAE(GatedTrainingSAEConfig(**common, l1_coefficient=weight))
        case "jumprelu":
            kernel = {"jumprelu_init_threshold": gate["threshold"], "jumprelu_bandwidth": gate["bandwidth"]}
            return JumpReLUTrainingSAE(JumpReLUTrainingSAEConfig(**common, **kernel, l0_coefficient=weight))
        case "topk":
            return TopKTrainingSAE(TopKTrainingSAEConfig(**common, **QUIET, k=gate["k"]))
    chosen = {**common, **QUIET, "k": gate["k"], "topk_threshold_lr": 1 / MEMORY}
    level = graph.get("level")
    if level is None:
        return BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**chosen))
    widths = [*(round(prefix * document["width"]) for prefix in level["prefixes"]), document["width"]]
    return MatryoshkaBatchTopKTrainingSAE(MatryoshkaBatchTopKTrainingSAEConfig(**chosen, matryoshka_widths=widths))


def shuffled(rows: Tensor, batch: int, seed: int) -> Iterator[Tensor]:
    """Yields batches of rows in memory, in the order in which a data seed shows them to an SAE of ours.

    At this many steps an unlucky order moves FVU by more than most settings do.
    """
    batches = Batches({"x": rows}, batch, seed)
    return (batches.at(step)["x"] for step in count())


def trainer_of(document: dict[str, Any], sae: Any, rows: Tensor, seed: int, autocast: bool = False) -> SAETrainer:
    """Returns the package's own trainer on rows that are scaled already; nothing is logged, nothing evaluated."""
    training, rate = document["training"], document["training"]["optimizer"]["lr"]
    steps = training["tokens"] // training["batch"]
    config = SAETrainerConfig(
        total_training_samples=training["tokens"],
        train_batch_size_samples=training["batch"],
        lr=rate,
        lr_end=rate,
        lr_decay_steps=round(training["schedule"]["decay_frac"] * steps),
        autocast=autocast,
    )
    return SAETrainer(config, sae, shuffled(rows, training["batch"], seed))


def train_saelens(document: dict[str, Any], rows: Tensor, seed: int, folder: Path, autocast: bool = False) -> Any:
    """Trains a document, writes what is used at inference to `folder`, and returns that."""
    torch.manual_seed(seed)
    sae = trainer_of(document, training_sae(document), rows, seed, autocast).fit()
    sae.save_inference_model(folder)
    return load_saelens(folder)


def load_saelens(folder: Path) -> Any:
    """Returns an SAE as SAELens uses it at inference."""
    return SAE.load_from_disk(folder)


@torch.no_grad()
def measured(sae: Any, rows: Tensor, part: int = 4096) -> dict[str, float]:
    """Returns L0 and FVU on scaled rows, as one would write it beside SAELens."""
    error = l0 = 0.0
    for some in rows.split(part):
        code = sae.encode(some)
        l0 += float((code != 0).sum())
        error += float((sae.decode(code) - some).square().sum())
    return {"l0": l0 / len(rows), "fvu": error / float((rows - rows.mean(0)).square().sum())}
