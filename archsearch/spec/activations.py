"""Where activations come from: five sources, one union."""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from archsearch.spec.block import SpecModel

MOST = 10**13
"""Most rows anything may ask for: beyond it lies a slip of the keyboard, not a plan."""

Split = Literal["train", "calibrate", "validate", "test"]
"""train: gradients; calibrate: thresholds and normalisation; validate: what a search sees; test: opened by `confirm` only."""

HookNames = str | Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]

_TOKENS = Field(300_000, ge=1, le=MOST, description="Rows harvested from train documents (tokens).")
_EVAL_TOKENS = Field(16_384, ge=1, le=MOST, description="Rows harvested from each of calibrate, validate and test documents (tokens).")


class _Hooked(SpecModel):
    """A source that reads hook points of a language model."""

    @property
    def hooks(self) -> tuple[str, ...]:
        """The hook points, always as a tuple."""
        hook: HookNames = getattr(self, "hook")  # noqa: B009  (declared by the subclass, so that each has its own default)
        return (hook,) if isinstance(hook, str) else hook

    @model_validator(mode="after")
    def _hooks_differ(self) -> Self:
        if len(set(self.hooks)) != len(self.hooks) or not all(self.hooks):
            raise ValueError(f"hook names must be non-empty and each be named once; got {self.hooks!r}")
        return self


class BundledSource(_Hooked):
    """The small language model of Python source that comes with the package, on the Python standard library."""

    source: Literal["bundled"] = "bundled"
    hook: HookNames = Field(
        "blocks.1.hook_out",
        description="Hook point in TransformerLens' names, or a list of them (a crosscoder reads several). Default: the residual "
        "stream after the second of four blocks.",
    )
    tokens: int = _TOKENS
    eval_tokens: int = _EVAL_TOKENS


class ModelSource(_Hooked):
    """Any causal language model TransformerLens' bridge can open, on any text."""

    source: Literal["model"]
    model: str = Field(min_length=1, description="Local Hugging Face folder, or a name on the Hugging Face hub (needs network).")
    hook: HookNames = Field(description="Hook point in TransformerLens' names (`blocks.6.hook_out`), or a list of them.")
    data: str = Field(
        min_length=1,
        description="Local folder of .txt, .md, .py or .jsonl files, one such file, or the name of a dataset on the Hugging Face "
        "hub (needs network). A document is a file, or a line of a .jsonl file.",
    )
    column: str = Field("text", min_length=1, description="Field of .jsonl lines or of the hub dataset that holds the text.")
    tokens: int = _TOKENS
    eval_tokens: int = _EVAL_TOKENS
    context: int = Field(256, ge=2, description="Window length, its BOS included (tokens); at most what the model was built for.")
    batch: int = Field(32, ge=1, description="Windows in one forward pass (count); changes speed and memory, not results.")
    bos: bool = Field(
        True,
        description="Open every window with the tokenizer's BOS token where it has one. The row at BOS is neither harvested nor spliced.",
    )
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="Number format the model runs in.")


class FileSource(SpecModel):
    """Activations computed elsewhere: 2-D arrays [rows, model] in .npy or .safetensors files."""

    source: Literal["file"]
    path: str | None = Field(
        None,
        min_length=1,
        description="One file for all splits: consecutive blocks of its rows become train (82%), calibrate (4%), validate (7%) "
        "and test (7%). Blocks, because neighbouring rows often share a document.",
    )
    paths: dict[Split, str] | None = Field(None, description="One file for each of the four splits, instead of `path`.")
    hook: HookNames | None = Field(
        None,
        description="Name of the tensor in a .safetensors file, or a list of names whose rows belong together. Not needed for a "
        "file with a single tensor, not allowed for .npy.",
    )

    @property
    def hooks(self) -> tuple[str, ...]:
        """The tensor names asked for, as a tuple; empty when none was."""
        if self.hook is None:
            return ()
        return (self.hook,) if isinstance(self.hook, str) else self.hook

    @model_validator(mode="after")
    def _one_way_to_name_files(self) -> Self:
        if (self.path is None) == (self.paths is None):
            raise ValueError("give exactly one of `path` (one file) and `paths` (a file for each split)")
        missing = {"train", "calibrate", "validate", "test"} - set(self.paths or ("train", "calibrate", "validate", "test"))
        if missing:
            raise ValueError(f"`paths` must name a file for every split; missing: {', '.join(sorted(missing))}")
        if len(set(self.hooks)) != len(self.hooks) or not all(self.hooks):
            raise ValueError(f"hook names must be non-empty and each be named once; got {self.hooks!r}")
        return self


class Hierarchy(SpecModel):
    """A planted tree of two storeys: a child is on only in rows where its parent is, so that an SAE may let the child absorb the parent.

    The setting of "A is for Absorption" (https://arxiv.org/abs/2409.14507), the toy model of features of which one implies another.
    Parents are the first features, their children come next (those of the first parent first); the rest stand alone.
    """

    parents: int = Field(ge=1, description="Features that have children (count).")
    children: int = Field(ge=1, description="Children of each parent (count).")
    child_on: float = Field(gt=0, le=1, description="Probability that a child is on in a row where its parent is (0 to 1).")
    exclusive: bool = Field(
        False, description="At most one child of a parent is on in a row; otherwise each is on independently, given its parent."
    )
    child_scale: float = Field(1.0, gt=0, description="Strength of children, as a multiple of the other features' strength.")

    @property
    def features(self) -> int:
        """Features in the tree (count)."""
        return self.parents * (1 + self.children)

    @model_validator(mode="after")
    def _one_child_at_most(self) -> Self:
        if self.exclusive and self.children * self.child_on > 1 + 1e-9:
            total = self.children * self.child_on
            raise ValueError(f"with `exclusive`, `children * child_on` is the probability that any child is on, at most 1; got {total:g}")
        return self


class SyntheticSource(SpecModel):
    """Sparse sums of known directions: each row adds the features that are on, each times its own strength."""

    source: Literal["synthetic"]
    features: int = Field(ge=1, le=2**31, description="True features (count).")
    model: int = Field(ge=1, le=2**31, description="Width of a row (count of components).")
    active: float = Field(
        gt=0,
        description="Features on in a row, on average (count, at most `features`); each is on independently, children apart.",
    )
    hierarchy: Hierarchy | None = Field(None, description="Parents and children among the features; unset: all stand alone.")
    decay: float = Field(
        0.0,
        ge=0,
        description="Exponent of a power law: the feature of rank r is on with probability proportional to r^-decay, parents ranked among "
        "themselves, and so those that stand alone; 0: all alike.",
    )
    hooks: int = Field(1, ge=1, description="Views of the same codes through different directions (count); 2 or more suit a crosscoder.")
    seed: int = Field(0, ge=0, description="Seed of directions and codes.")
    rows: int = Field(300_000, ge=1, le=MOST, description="Rows of train (count).")
    eval_rows: int = Field(16_384, ge=1, le=MOST, description="Rows of each of calibrate, validate and test (count).")

    @model_validator(mode="after")
    def _no_more_on_than_there_are(self) -> Self:
        if self.active > self.features:
            raise ValueError(f"`active` must be at most `features` ({self.features}); got {self.active!r}")
        if self.hierarchy is not None and self.hierarchy.features > self.features:
            raise ValueError(f"`features` must hold parents and children ({self.hierarchy.features}); got {self.features}")
        if (self.hierarchy is not None or self.decay) and self.commonest > 1 + 1e-9:
            what = f"the commonest feature would have to be on with probability {self.commonest:.3g}"
            raise ValueError(f"`active` must leave every probability at most 1; {what}: lower `active` ({self.active!r}) or `decay`")
        return self

    @property
    def commonest(self) -> float:
        """Probability that the feature of rank 1 is on: the mean number of features on is `active`, children among them."""
        tree = self.hierarchy
        if tree is None:
            return self.active / _power_sum(self.features, self.decay)
        family = 1 + tree.children * tree.child_on
        lone = _power_sum(self.features - tree.features, self.decay)
        return self.active / (family * _power_sum(tree.parents, self.decay) + lone)


def _power_sum(count: int, decay: float) -> float:
    """Returns the sum of r^-decay over ranks 1 to `count`."""
    return float(count) if decay == 0 else math.fsum(rank**-decay for rank in range(1, count + 1))


class DictionarySource(SpecModel):
    """The dictionary rows of a trained SAE, each of norm 1: what a meta-SAE is trained on."""

    source: Literal["dictionary"]
    folder: str = Field(
        min_length=1,
        description="Folder of a trained SAE, holding spec.json and sae.safetensors, as `archsearch train` and `export --fold` write it.",
    )
    held_out: bool = Field(
        False,
        description="Cut the rows into splits that share none (82%, 4%, 7%, 7%); unset, every split holds all rows, and measurements tell "
        "how well the rows trained on are described.",
    )


ActivationsSpec = Annotated[BundledSource | ModelSource | FileSource | SyntheticSource | DictionarySource, Field(discriminator="source")]
"""A source of activations, told apart by `source`."""
