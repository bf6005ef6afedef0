"""Windows with their model, from the front door: rows in context against the Hugging Face model's own, and what is put in their place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from archsearch.activations import open_activations, split_of
from archsearch.activations.model_windows import ModelWindows
from archsearch.errors import DataError
from archsearch.spec.activations import ModelSource, SyntheticSource

HOOK, CONTEXT = "blocks.1.hook_out", 16


def opened(tiny: Path, documents: Path, cache: Path, bos: bool = True, context: int = CONTEXT) -> ModelWindows:
    plain = {"model": str(tiny), "hook": HOOK, "data": str(documents), "tokens": 100, "eval_tokens": 60, "context": context, "bos": bos}
    activations = open_activations(ModelSource.model_validate({"source": "model", **plain}), cache=cache)
    found = activations.windows()
    assert found is not None and activations.windows() is found
    return found


@pytest.mark.parametrize("bos", [True, False])
def test_rows_in_context_are_the_models_hidden_states_and_those_of_the_store(tiny: Path, documents: Path, tmp_path: Path, bos: bool):
    windows = opened(tiny, documents, tmp_path, bos)
    assert windows.rows_each == CONTEXT - bos and windows.tokens.shape == (windows.count, CONTEXT)
    assert (windows.tokens[:, 0] == 0).all() or not bos
    rows, clean = windows.clean(torch.arange(windows.count), (HOOK,))
    with torch.no_grad():
        plain = AutoModelForCausalLM.from_pretrained(tiny, attn_implementation="eager").eval()
        found = plain(input_ids=windows.tokens, output_hidden_states=True)
    wanted = found.hidden_states[2][:, int(bos) :].flatten(0, 1)
    assert rows["x"].dtype == torch.float32 and torch.allclose(rows["x"], wanted, rtol=1e-4, atol=1e-4)
    assert torch.allclose(clean.logits, found.logits, rtol=1e-4, atol=1e-4) and torch.equal(clean.rows[HOOK], rows["x"])


def test_windows_hold_train_text_and_whole_ones_only(tiny: Path, documents: Path, tmp_path: Path):
    windows, tokenizer = opened(tiny, documents, tmp_path), AutoTokenizer.from_pretrained(tiny)
    texts = [path.read_text(encoding="utf-8") for path in documents.iterdir() if split_of(path.name) == "train"]
    found = [tokenizer(text)["input_ids"] for text in texts]
    whole = [ids[first : first + CONTEXT - 1] for ids in found for first in range(0, len(ids) - CONTEXT + 2, CONTEXT - 1)]
    seen = windows.tokens[:, 1:].tolist()
    assert 0 < len(seen) <= len(whole) and all(window in whole for window in seen)
    assert windows.count * windows.rows_each <= 100 + CONTEXT, "no more than `tokens` asks for"


def test_rows_put_back_leave_the_model_as_it_is_and_others_do_not(tiny: Path, documents: Path, tmp_path: Path):
    windows, numbers = opened(tiny, documents, tmp_path), torch.tensor([2, 0])
    rows, clean = windows.clean(numbers)
    same = windows.through(numbers, rows)
    assert torch.allclose(same.logits, clean.logits, rtol=1e-5, atol=1e-5)
    value = (2 * rows["x"]).requires_grad_()
    other = windows.through(numbers, {"x": value}, ("blocks.2.hook_out",))
    assert torch.equal(other.logits[:, 0], clean.logits[:, 0]) and not torch.allclose(other.logits[:, 1:], clean.logits[:, 1:])
    (gradient,) = torch.autograd.grad(other.rows["blocks.2.hook_out"].sum() + other.logits.sum(), value)
    assert gradient.shape == value.shape and gradient.abs().sum(-1).min() > 0


def test_documents_shorter_than_the_context_are_refused(tiny: Path, documents: Path, tmp_path: Path):
    for path in documents.iterdir():
        (tmp_path / path.name).write_text(" ".join(path.read_text(encoding="utf-8").split()[:8]))
    plain = {"model": str(tiny), "hook": HOOK, "data": str(tmp_path), "tokens": 20, "eval_tokens": 20, "context": 32}
    activations = open_activations(ModelSource.model_validate({"source": "model", **plain}), cache=tmp_path / "cache")
    with pytest.raises(DataError, match=r"most rows must lie in windows of the whole context, 32 tokens; 0 of"):
        activations.windows()


def test_a_source_without_a_model_has_no_windows():
    assert open_activations(SyntheticSource(source="synthetic", features=4, model=3, active=1, rows=9, eval_rows=9)).windows() is None
