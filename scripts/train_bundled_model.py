"""Trains the bundled language model of Python source on the standard library of the running interpreter.

    python scripts/train_bundled_model.py            # about ten minutes on two CPU cores
    python scripts/measure_bundled_model.py          # then the figures

Gradients come from the train documents, the kept checkpoint is the one with the lowest loss on the calibrate documents;
validate and test documents are never read.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import random
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from archsearch.activations.corpus import Document, fingerprint, standard_library
from archsearch.activations.splits import SPLITS

BEGIN = "<|begin|>"  # first token of every window, and between documents in the training stream
VOCABULARY = 4096
CONTEXT = 256
FAST_BFLOAT16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
FOLDER = Path(__file__).resolve().parents[1] / "archsearch" / "activations" / "bundled"
log = logging.getLogger("train_bundled_model")


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Returns a byte-level BPE of `VOCABULARY` tokens that decodes every text exactly."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=[BEGIN], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN,
        eos_token=BEGIN,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def build_model() -> GPTNeoXForCausalLM:
    """Returns the untrained model: four GPT-NeoX blocks of width 128, rotary positions, tied embeddings."""
    config = GPTNeoXConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        use_parallel_residual=False,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    return GPTNeoXForCausalLM(config)


def encode(tokenizer: PreTrainedTokenizerFast, documents: list[Document]) -> list[list[int]]:
    """Returns the token ids of each document, without special tokens."""
    return [encoding.ids for encoding in tokenizer.backend_tokenizer.encode_batch([d.text for d in documents])]


def windows(rows: list[list[int]], order: random.Random) -> Tensor:
    """Returns one epoch: documents in a fresh order behind one another, cut at a fresh offset, each window opened by `BEGIN`."""
    stream: list[int] = []
    for index in order.sample(range(len(rows)), len(rows)):
        stream += [0, *rows[index]]
    start = order.randrange(CONTEXT - 1)
    count = (len(stream) - start) // (CONTEXT - 1)
    body = torch.tensor(stream[start : start + count * (CONTEXT - 1)]).view(count, CONTEXT - 1)
    cut = torch.cat([torch.zeros(count, 1, dtype=body.dtype), body], dim=1)
    return cut[torch.tensor(order.sample(range(count), count))]


def loss_of(model: GPTNeoXForCausalLM, batch: Tensor) -> Tensor:
    """Returns mean next-token cross-entropy of `batch` in nats, matrix products in bfloat16 where the processor is made for it."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=FAST_BFLOAT16):
        logits = model(input_ids=batch).logits
    targets = batch[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(logits[:, :-1].float().flatten(0, 1), targets)


@torch.no_grad()
def held_out(model: GPTNeoXForCausalLM, cut: Tensor) -> float:
    """Returns the mean loss in nats per token over the windows `cut`, without dropout."""
    model.eval()
    losses = [loss_of(model, batch).item() * len(batch) for batch in cut.split(32)]
    model.train()
    return sum(losses) / len(cut)


def optimizers(model: GPTNeoXForCausalLM, rate: float) -> list[torch.optim.Optimizer]:
    """Returns Muon for the matrices inside blocks and AdamW for embeddings, biases and norms."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and ".layers." in n]
    outer = [p for n, p in model.named_parameters() if not (p.ndim == 2 and ".layers." in n)]
    return [
        torch.optim.Muon(inner, lr=rate, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(outer, lr=rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def train(model: GPTNeoXForCausalLM, rows: dict[str, list[list[int]]], epochs: int, batch: int, rate: float, seed: int) -> dict:
    """Trains in place, leaves the best checkpoint on calibrate documents in `model`, returns what happened."""
    order = random.Random(seed)
    watch = windows(rows["calibrate"], random.Random(seed))
    steps = epochs * (len(windows(rows["train"], random.Random(seed))) // batch)
    both = optimizers(model, rate)
    best, best_state, step, began = float("inf"), {}, 0, time.monotonic()
    curve: list[list[float]] = []
    for _ in range(epochs + 1):  # offsets move the length of an epoch by a window, hence the guard on `steps`
        for rowsof in windows(rows["train"], order).split(batch):
            if step == steps or len(rowsof) < batch:
                break
            warm, left = min(1.0, (step + 1) / 100), 1 - step / steps
            for optimizer in both:
                for group in optimizer.param_groups:
                    group["lr"] = rate * warm * left
            loss = loss_of(model, rowsof)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer in both:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            step += 1
            if step % 200 == 0 or step == steps:
                now = held_out(model, watch)
                curve.append([step, round(loss.item(), 4), round(now, 4)])
                log.info("step %d/%d train %.4f calibrate %.4f %.0f s", step, steps, loss.item(), now, time.monotonic() - began)
                if now < best:
                    best, best_state = now, {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(best_state)
    return {"seconds": round(time.monotonic() - began), "steps": step, "calibrate_nats": round(best, 4), "curve": curve}


def write_corpus(documents: list[Document], folder: Path) -> None:
    """Writes the name, hash and split of every document, and the fingerprint of all of them."""
    listing = {d.name: {"sha256": d.sha256, "split": d.split} for d in documents}
    corpus = {"python": platform.python_version(), "fingerprint": fingerprint(documents), "documents": listing}
    (folder / "corpus.json").write_text(json.dumps(corpus, indent=0, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the bundled language model of Python source.")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--batch", type=int, default=16, help="windows per step")
    parser.add_argument("--rate", type=float, default=0.004, help="peak learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=FOLDER)
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(chosen.seed)
    documents = standard_library()
    by_split = {split: [d for d in documents if d.split == split] for split in SPLITS}
    tokenizer = train_tokenizer([d.text for d in by_split["train"]])
    rows = {split: encode(tokenizer, by_split[split]) for split in ("train", "calibrate")}
    for split, cut in rows.items():
        log.info("%s: %d documents, %d tokens", split, len(cut), sum(map(len, cut)))
    model = build_model()
    happened = train(model, rows, chosen.epochs, chosen.batch, chosen.rate, chosen.seed)
    chosen.out.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(chosen.out)
    (chosen.out / "model.safetensors").chmod(0o644)
    tokenizer.save_pretrained(chosen.out)
    write_corpus(documents, chosen.out)
    settings = {k: v for k, v in vars(chosen).items() if k != "out"}
    record = {"python": platform.python_version(), "torch": torch.__version__, **settings, **happened}
    (chosen.out / "training.json").write_text(json.dumps(record) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
