"""Measures the bundled language model and writes its figures.

    python scripts/measure_bundled_model.py

Reads train, calibrate and validate documents; test documents stay closed.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from pathlib import Path

import numpy as np
import torch

from archsearch.activations.bridge import LanguageModel
from archsearch.activations.corpus import Document, fingerprint, standard_library
from archsearch.activations.harvest import collect
from archsearch.activations.model import BUNDLED
from archsearch.activations.splice import Splicer, summed_loss
from archsearch.activations.windows import cut

sys.path.insert(0, str(Path(__file__).parent))
from ngram import KneserNey

CONTEXT = 256
SPLICE_ROWS = 32_768
HOOKS = tuple(f"blocks.{block}.hook_out" for block in range(4))
log = logging.getLogger("measure_bundled_model")


def measure(model: LanguageModel, documents: list[Document]) -> dict[str, float]:
    """Returns size and loss of the model on whole documents, every token predicted once."""
    windows = cut(model.encode([document.text for document in documents]), CONTEXT, model.bos, 0)
    nats = 0.0
    for part in windows.batches(32):
        logits = model.run(part.tokens, {})
        assert logits is not None
        nats += summed_loss(logits, part)
    num_bytes = sum(len(document.text.encode("utf-8")) for document in documents)
    return {
        "documents": len(documents),
        "tokens": windows.num_rows,
        "bytes": num_bytes,
        "nats_per_token": round(nats / windows.num_rows, 4),
        "bits_per_byte": round(nats / math.log(2) / num_bytes, 4),
    }


def unigram_nats(train: list[list[int]], held_out: list[list[int]], vocabulary: int) -> float:
    """Returns nats per token of `held_out` under token frequencies of `train`, each count raised by one."""
    counts = np.bincount(np.concatenate(train), minlength=vocabulary) + 1.0
    return float(-np.log(counts / counts.sum())[np.concatenate(held_out)].mean())


def damages(model: LanguageModel, train: list[Document], validate: list[Document]) -> dict[str, dict[str, float]]:
    """Returns, for each block's output, what mean and zero ablation cost in nats per token of validate documents."""
    seen = cut(model.encode([d.text for d in train]), CONTEXT, model.bos, 0).head(SPLICE_ROWS)
    held = cut(model.encode([d.text for d in validate]), CONTEXT, model.bos, 0).head(SPLICE_ROWS)
    found = {}
    for hook in HOOKS:
        mean = torch.cat([collect(model, part, (hook,))[hook] for part in seen.batches(32)]).mean(0)
        splicer = Splicer(model, {"x": hook}, held, {"x": mean})
        found[hook] = {
            "clean_nats": round(splicer.clean, 4),
            "mean_ablation_damage_nats": round(splicer.mean_ablated - splicer.clean, 4),
            "zero_ablation_damage_nats": round(splicer.zero_ablated - splicer.clean, 4),
        }
        log.info("%s %s", hook, found[hook])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the bundled language model of Python source.")
    parser.add_argument("--folder", type=Path, default=BUNDLED)
    folder = parser.parse_args().folder
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log.setLevel(logging.INFO)
    documents = standard_library()
    train, calibrate, validate = ([d for d in documents if d.split == split] for split in ("train", "calibrate", "validate"))
    model = LanguageModel(str(folder))
    rows = {"train": model.encode([d.text for d in train]), "validate": model.encode([d.text for d in validate])}
    vocabulary = len(model.tokenizer)
    five = KneserNey(rows["train"], vocabulary)
    figures = {
        "hook": HOOKS[1],
        "command": "python scripts/train_bundled_model.py && python scripts/measure_bundled_model.py",
        "corpus": fingerprint(documents),
        "training": json.loads((folder / "training.json").read_text(encoding="utf-8")),
        "validate_unigram_nats": round(unigram_nats(rows["train"], rows["validate"], vocabulary), 4),
        "validate_5gram_nats": round(float(np.concatenate([five.nats(ids) for ids in rows["validate"]]).mean()), 4),
    }
    log.info("unigram %(validate_unigram_nats)s 5-gram %(validate_5gram_nats)s", figures)
    for name, part in (("validate", validate), ("calibrate", calibrate), ("train", train)):
        figures[name] = measure(model, part)
        log.info("%s %s", name, figures[name])
    figures["gap_nats"] = round(figures["validate"]["nats_per_token"] - figures["train"]["nats_per_token"], 4)
    figures["hooks"] = damages(model, train, validate)
    figures["ablation_damage_nats"] = figures["hooks"][HOOKS[1]]["mean_ablation_damage_nats"]
    figures["folder_bytes"] = sum(path.stat().st_size for path in folder.iterdir() if path.name != "figures.json")
    (folder / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
