"""Harvested rows and spliced losses against the Hugging Face model's own numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from archsearch.activations import SPLITS, Document, LanguageModel, collect, open_activations, split_of, windows_of
from archsearch.activations.plan import Plan
from archsearch.errors import DataError
from archsearch.spec.activations import ModelSource

HOOK = "blocks.1.hook_out"
CONTEXT = 16


def spec_for(folder: Path, documents: Path, changes: dict | None = None) -> ModelSource:
    plain = {"model": str(folder), "hook": HOOK, "data": str(documents), "tokens": 100, "eval_tokens": 60, "context": CONTEXT}
    return ModelSource.model_validate({"source": "model", **plain, **(changes or {})})


def every_window(model: Path, documents: Path, split: str, bos: bool = True) -> list[list[int]]:
    """All windows of a split, cut independently of the code under test."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    found = []
    for path in sorted(documents.iterdir()):
        if split_of(path.name) == split:
            ids = tokenizer(path.read_text(encoding="utf-8"))["input_ids"]
            step = CONTEXT - bos
            found += [[0] * bos + ids[start : start + step] for start in range(0, len(ids), step)]
    return found


def hidden(model: Path, windows: list[list[int]], after_block: int, bos: bool = True) -> torch.Tensor:
    """Rows after a block by `output_hidden_states`, one window at a time and so without padding."""
    plain = AutoModelForCausalLM.from_pretrained(model, attn_implementation="eager").eval()
    with torch.no_grad():
        states = [plain(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states[after_block + 1][0] for ids in windows]
    return torch.cat([state[int(bos) :] for state in states])


def losses(model: Path, windows: list[list[int]]) -> float:
    plain = AutoModelForCausalLM.from_pretrained(model, attn_implementation="eager").eval()
    with torch.no_grad():
        summed = [float(plain(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss) * (len(ids) - 1) for ids in windows]
    return sum(summed) / sum(len(ids) - 1 for ids in windows)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("block", [0, 1])
def test_rows_are_the_models_hidden_states(tiny: Path, documents: Path, bos: bool, block: int):
    texts = [Document(path.name, path.read_text(encoding="utf-8")) for path in sorted(documents.iterdir())]
    model, hook = LanguageModel(str(tiny)), f"blocks.{block}.hook_out"
    windows = windows_of(model, Plan(str(tiny), (hook,), {}, CONTEXT, 8, bos, "float32", texts, {}), "validate")
    cut = [row[:length].tolist() for row, length in zip(windows.tokens, windows.lengths, strict=True)]
    assert sorted(cut) == sorted(every_window(tiny, documents, "validate", bos))
    found = torch.cat([collect(model, part, (hook,))[hook] for part in windows.batches(8)])
    wanted = hidden(tiny, cut, block, bos)
    assert found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_stored_rows_are_rows_of_the_split(tiny: Path, documents: Path, tmp_path: Path):
    opened = open_activations(spec_for(tiny, documents), cache=tmp_path)
    found, wanted = opened.split("validate")["x"], hidden(tiny, every_window(tiny, documents, "validate"), 1)
    assert found.shape == (60, 16) and found.dtype == torch.float32 and opened.d_model == 16 and opened.names == ("x",)
    nearest = torch.cdist(found, wanted).min(dim=1)
    assert (nearest.values < 2**-8 * found.norm(dim=1)).all() and len(nearest.indices.unique()) == 60


def test_several_hooks_keep_rows_of_a_token_together(tiny: Path, documents: Path, tmp_path: Path):
    hooks = ("blocks.0.hook_out", HOOK)
    opened = open_activations(spec_for(tiny, documents, {"hook": hooks}), cache=tmp_path)
    assert opened.names == hooks and [opened.rows(split) for split in SPLITS] == [100, 60, 60, 60]
    windows = every_window(tiny, documents, "test")
    early, late = hidden(tiny, windows, 0), hidden(tiny, windows, 1)
    found = opened.split("test")
    for first, second in zip(found[hooks[0]][:10], found[hooks[1]][:10], strict=True):
        near = (early - first).norm(dim=1) < 0.02 * first.norm()
        assert ((late[near] - second).norm(dim=1) < 0.02 * second.norm()).any()


def test_a_store_is_reused_and_changes_of_the_spec_are_not(tiny: Path, documents: Path, tmp_path: Path):
    said: list[str] = []

    def report(what: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        said.append(what)

    first = open_activations(spec_for(tiny, documents), cache=tmp_path, report=report)
    assert "harvest activations" in said
    said.clear()
    again = open_activations(spec_for(tiny, documents, {"batch": 2}), cache=tmp_path, report=report)
    assert "harvest activations" not in said and again.fingerprint == first.fingerprint
    assert torch.equal(again.split("train")["x"], first.split("train")["x"])
    for change in ({"tokens": 99}, {"hook": "blocks.0.hook_out"}, {"context": 12}, {"bos": False}):
        assert open_activations(spec_for(tiny, documents, change), cache=tmp_path).fingerprint != first.fingerprint
    assert first.provenance["recipe"]["hooks"] == [HOOK]


def test_splice_with_identity_and_with_the_mean(tiny: Path, documents: Path, tmp_path: Path):
    opened = open_activations(spec_for(tiny, documents), cache=tmp_path)
    splicer = opened.splicer()
    assert splicer is opened.splicer("validate")
    same = splicer.cross_entropy(lambda rows: rows)
    assert same.clean == pytest.approx(losses(tiny, every_window(tiny, documents, "validate")), rel=1e-5)
    assert same.spliced == pytest.approx(same.clean, rel=1e-6) and same.recovered == pytest.approx(1.0, abs=1e-4)
    mean = opened.split("train")["x"].mean(0)
    flat = splicer.cross_entropy(lambda rows: {"x": mean.expand_as(rows["x"])})
    assert flat.recovered == pytest.approx(0.0, abs=1e-3) and flat.mean_ablated == same.mean_ablated
    zero = splicer.cross_entropy(lambda rows: {"x": torch.zeros_like(rows["x"])})
    assert zero.spliced == pytest.approx(zero.zero_ablated)
    assert len({round(same.clean, 4), round(same.mean_ablated, 4), round(same.zero_ablated, 4)}) == 3


def test_splice_replaces_every_hook(tiny: Path, documents: Path, tmp_path: Path):
    hooks = ("blocks.0.hook_out", HOOK)
    splicer = open_activations(spec_for(tiny, documents, {"hook": hooks}), cache=tmp_path).splicer("calibrate")
    both = splicer.cross_entropy(lambda rows: {name: 0 * row for name, row in rows.items()})
    assert both.spliced == pytest.approx(both.zero_ablated)
    early = splicer.cross_entropy(lambda rows: {**rows, hooks[0]: 0 * rows[hooks[0]]})
    late = splicer.cross_entropy(lambda rows: {**rows, hooks[1]: 0 * rows[hooks[1]]})
    # The later hook is given its clean rows, so only what BOS carries past it can still differ.
    assert abs(early.recovered - 1) < abs(late.recovered - 1)


def test_a_hook_point_that_is_only_read_is_left_alone(tiny: Path, documents: Path, tmp_path: Path):
    """A later hook point read and left alone, or no hook point at all: the model computes the same."""
    read, other = ("blocks.0.hook_out", HOOK), ("blocks.0.hook_out",)
    both, one = (open_activations(spec_for(tiny, documents, {"hook": hooks}), cache=tmp_path).splicer() for hooks in (read, other))
    found = both.cross_entropy(lambda rows: {read[0]: 0.5 * rows[read[0]]})
    alone = one.cross_entropy(lambda rows: {"x": 0.5 * rows["x"]})
    assert found.spliced == pytest.approx(alone.spliced, rel=1e-5) and found.clean != found.spliced
    assert found.zero_ablated == pytest.approx(alone.zero_ablated, rel=1e-5)
    assert found.mean_ablated == pytest.approx(alone.mean_ablated, rel=1e-5) and found.mean_ablated != both.mean_ablated


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda rows: {}, "got nothing"),
        (lambda rows: {"x": rows["x"][1:]}, "must have shape"),
        (lambda rows: {"x": rows["x"] * torch.nan}, "must be finite"),
    ],
)
def test_bad_reconstructions_are_refused(tiny: Path, documents: Path, tmp_path: Path, made, said: str):
    with pytest.raises(DataError, match=said):
        open_activations(spec_for(tiny, documents), cache=tmp_path).splicer().cross_entropy(made)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hook": "blocks.1.hook_ot"}, "did you mean 'blocks.1.hook_out'"),
        ({"hook": "blocks.9.hook_out"}, "has no hook point 'blocks.9.hook_out'"),
        ({"hook": "blocks.1.attn.hook_pattern"}, "one vector for each token"),
        ({"hook": ["blocks.1.hook_out", "unembed.hook_out"]}, "one width"),
        ({"tokens": 10**6}, "train documents must hold at least 1000000 tokens"),
        ({"eval_tokens": 10**6}, "calibrate documents .* `eval_tokens`"),
        ({"context": 64}, "`context` must be at most 32"),
        ({"model": "no/such-model-anywhere"}, "must be a local Hugging Face folder"),
    ],
)
def test_what_cannot_be_harvested_leaves_nothing(
    tiny: Path, documents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict, said: str
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=said):
        open_activations(spec_for(tiny, documents, change), cache=tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_data_without_a_document_for_every_split(tiny: Path, tmp_path: Path):
    (tmp_path / "one.txt").write_text("some words")
    with pytest.raises(DataError, match="every split needs a document"):
        open_activations(spec_for(tiny, tmp_path / "one.txt", {"tokens": 1}), cache=tmp_path / "cache")


def test_model_whose_activations_are_not_finite_is_refused(documents: Path, tiny: Path, tmp_path: Path):
    broken = AutoModelForCausalLM.from_pretrained(tiny)
    with torch.no_grad():
        next(broken.parameters())[:] = torch.inf
    broken.save_pretrained(tmp_path / "model")
    AutoTokenizer.from_pretrained(tiny).save_pretrained(tmp_path / "model")
    with pytest.raises(DataError, match="must be finite"):
        open_activations(spec_for(tmp_path / "model", documents), cache=tmp_path / "cache")
