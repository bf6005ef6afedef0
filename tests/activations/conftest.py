"""Tiny random models in Hugging Face folders, and a folder of documents that reaches every split."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from archsearch.activations import SPLITS, split_of

CONTEXT = 16


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve text files, three of every split."""
    folder = tmp_path_factory.mktemp("documents")
    found = dict.fromkeys(SPLITS, 0)
    number = 0
    while min(found.values()) < 3:
        name, number = f"{number}.txt", number + 1
        if found[split_of(name)] < 3:
            found[split_of(name)] += 1
            words = [f"w{(number * 7 + place * place) % 53}" for place in range(60 + number % 5)]
            (folder / name).write_text(" ".join(words), encoding="utf-8")
    return folder


def save(model: PreTrainedModel, texts: list[str], folder: Path) -> Path:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="<s>").save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["gpt2", "gpt_neox"])
def tiny(request: pytest.FixtureRequest, documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random model of three blocks of width 16, large enough in its weights for losses to differ."""
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0, "initializer_range": 0.3}
    if request.param == "gpt2":
        config = GPT2Config(vocab_size=300, n_positions=32, n_embd=16, n_layer=3, n_head=2, **ends)
        model: PreTrainedModel = GPT2LMHeadModel(config)
    else:
        model = GPTNeoXForCausalLM(
            GPTNeoXConfig(
                vocab_size=300,
                hidden_size=16,
                num_hidden_layers=3,
                num_attention_heads=2,
                intermediate_size=32,
                max_position_embeddings=32,
                **ends,
            )
        )
    texts = [path.read_text(encoding="utf-8") for path in sorted(documents.iterdir())]
    return save(model, texts, tmp_path_factory.mktemp(request.param))
