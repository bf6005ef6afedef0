"""A causal language model behind TransformerLens' `TransformerBridge`: the one file that knows that library."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoConfig, AutoTokenizer
from transformers.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled

from archsearch.activations.hooks import unknown_hook
from archsearch.activations.hub import said
from archsearch.errors import DataError

Edit = Callable[[Tensor], Tensor | None]
"""Sees the value at a hook point [window, position, ...]; what it returns, if anything, takes that value's place."""


class LanguageModel:
    """A bridge without weight processing: its numbers are the Hugging Face model's own.

    The calls used (`boot_transformers`, `hook_dict`, `run_with_hooks` with `stop_at_layer`) are the same in TransformerLens 3.9
    and 4.x. Text never passes through the bridge, so its rules about BOS and padding do not act. Weights are frozen: gradients flow
    through the model, never into it.
    """

    def __init__(self, name: str, device: str = "cpu", dtype: str = "float32"):
        self.name, self.device = name, torch.device(device)
        try:
            config = AutoConfig.from_pretrained(name)
            self.tokenizer = AutoTokenizer.from_pretrained(name)
            with _no_progress_bar():
                self._bridge = TransformerBridge.boot_transformers(
                    name, device=device, dtype=getattr(torch, dtype), tokenizer=self.tokenizer
                )
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise DataError(
                f"a model must be a Hugging Face folder or hub name (needs network) of an architecture that TransformerBridge "
                f"supports; {name!r} could not be opened: {said(error)}"
            ) from error
        self._bridge.eval().requires_grad_(False)
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.context = int(getattr(config, "max_position_embeddings", 0) or 2**31)
        self.num_blocks = len(self._bridge.blocks)
        self._hooks = self._bridge.hook_dict
        self._one_pass = threading.Lock()  # hooks are set on the modules themselves, which threads share

    @property
    def bos(self) -> int | None:
        """The id of the token that opens a window, if the tokenizer has one."""
        return self.tokenizer.bos_token_id

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Returns the token ids of each text, without special tokens."""
        # The masks and type ids that a tokenizer makes besides, a number a token each, cost a tenth of its time.
        plain = {"add_special_tokens": False, "return_attention_mask": False, "return_token_type_ids": False}
        return self.tokenizer(texts, verbose=False, **plain)["input_ids"]

    def require(self, hooks: tuple[str, ...]) -> None:
        """Refuses hook points the model does not have.

        Raises:
            DataError: naming the nearest valid hook point of each unknown one.
        """
        unknown = [hook for hook in hooks if hook not in self._hooks]
        if unknown:
            lines = [f"model {self.name!r} has no hook point {hook!r}; {unknown_hook(hook, self._hooks)}" for hook in unknown]
            raise DataError("\n".join(lines))

    def run(
        self, tokens: Int[Tensor, "window position"], edits: Mapping[str, Edit], whole: bool = True, grad: bool = False
    ) -> Float[Tensor, "window position vocabulary"] | None:
        """Runs `tokens` with `edits` at hook points and returns the logits, or `None` if not `whole`.

        A run that is not `whole` stops after the last block that `edits` look into, so its cost grows with depth. With `grad` it can be
        differentiated with respect to what `edits` return. It computes in the model's own number format, whatever the caller's context.
        """
        seen: set[str] = set()
        hooks: list[Any] = [(name, _hook(name, edit, seen)) for name, edit in edits.items()]
        stop = None if whole else self._stop_after(edits)
        with self._one_pass, torch.set_grad_enabled(grad), torch.autocast(self.device.type, enabled=False):
            logits = self._bridge.run_with_hooks(tokens.to(self.device), fwd_hooks=hooks, stop_at_layer=stop)
        if silent := sorted(set(edits) - seen):
            raise DataError(f"hook points must fire in a forward pass; of model {self.name!r} these did not: {', '.join(silent)}")
        return logits if whole else None

    def _stop_after(self, hooks: Mapping[str, Edit]) -> int | None:
        parts = [hook.split(".") for hook in hooks]
        if not all(part[0] == "blocks" and part[1].isdigit() for part in parts):
            return None  # the embedding comes before every block and the final norm after: run everything
        last = max(int(part[1]) for part in parts)
        return last + 1 if last + 1 < self.num_blocks else None


def _hook(name: str, edit: Edit, seen: set[str]) -> Callable[..., Tensor | None]:
    def call(value: Tensor, hook: object) -> Tensor | None:
        seen.add(name)
        return edit(value)

    return call


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keeps the loading of weights from drawing over what the command line shows."""
    shown = is_progress_bar_enabled()
    disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            enable_progress_bar()
