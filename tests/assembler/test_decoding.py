"""Outputs as sums of dictionary rows, over the graphs there are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from archsearch.assembler.decoding import by_target, decoded, dictionary_of
from archsearch.blocks._block import Out
from archsearch.errors import DataError
from tests.assembler.decodable import EVERY, trained


@pytest.mark.parametrize("name", EVERY)
def test_outputs_are_sums_of_dictionary_rows(name: str):
    sae, rows = trained(name)
    dictionary = dictionary_of(sae)
    assert dictionary.shape == (12, 6 * len(sae.graph.outputs))
    found = decoded(sae, rows, dictionary)
    assert torch.equal(found.code, sae.encode(rows)) and (found.code != 0).any()
    rebuilt = sae.unscale(by_target(sae, found.base + found.code @ dictionary))
    for target, value in sae.reconstruct(rows).items():
        torch.testing.assert_close(rebuilt[target], value)
        assert torch.equal(by_target(sae, found.target)[target], sae.scale(rows)[target])


def test_rows_are_those_of_the_decoders():
    sae, _ = trained("chain")
    torch.testing.assert_close(dictionary_of(sae), sae.block("decoder").dictionary.detach())
    sae, _ = trained("residual")
    stages = {one.name: sae.block(one.decoders[0]).dictionary.detach() for one in sae.graph.dictionaries}
    torch.testing.assert_close(dictionary_of(sae), torch.cat(list(stages.values())))
    sae, _ = trained("crosscoder")
    both = [sae.block(label).dictionary.detach() for label in ("to_early", "to_late")]
    torch.testing.assert_close(dictionary_of(sae), torch.cat(both, 1))


def test_the_base_holds_biases_and_what_passes_the_codes():
    sae, rows = trained("skip")
    signals = sae.signals(sae.scale(rows))
    found = decoded(sae, rows, dictionary_of(sae))
    torch.testing.assert_close(found.base, signals["skip.y"] + sae.block("decoder").bias)


def test_a_decoder_that_is_not_linear_is_refused(monkeypatch: pytest.MonkeyPatch):
    sae, rows = trained("chain")
    right = dictionary_of(sae)
    decoder = sae.block("decoder")

    def bent(code: Tensor) -> Out:
        return Out(reconstruction=(code @ decoder.dictionary).tanh())

    monkeypatch.setattr(decoder, "infer", bent)
    for refused in (lambda: dictionary_of(sae), lambda: decoded(sae, rows, right)):
        with pytest.raises(DataError, match=r"must be a sum of dictionary rows.*a decoder is not linear"):
            refused()
