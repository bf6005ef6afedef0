from __future__ import annotations

import pytest
import torch

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from archsearch.blocks.encoders.tied_encoder import TiedEncoder
from archsearch.blocks.signals import Sizes
from archsearch.errors import AssemblyError
from tests.blocks.harness import Case, Example, Two, base, grown


def reference(settings, ports, tensors):
    shift = tensors.get("bias", [0.0] * len(ports["weight"]))
    return {"pre": [[sum(w * v for w, v in zip(weight, row)) + b for weight, b in zip(ports["weight"], shift)] for row in ports["x"]]}


EXAMPLE = Example(cases=(Case(), Case({"bias": False})), fields={"bias": Two(True, False)}, reference=reference)


def test_one_dictionary_row_per_latent():
    block = TiedEncoder(TiedEncoder.Spec(bias=False), Sizes(model=2, latent=3))
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert block(torch.tensor([[2.0, 3.0]]), rows)["pre"].tolist() == [[2.0, 3.0, 5.0]]
    assert not list(block.parameters())


def test_the_decoder_keeps_the_rows_at_norm_one():
    document = base()
    document["graph"]["encoder"] = "tied_encoder"
    sae = grown(document).sae
    torch.testing.assert_close(sae.block("decoder").dictionary.norm(dim=-1), torch.ones(12, dtype=torch.float64))


def test_an_encoder_and_a_decoder_that_each_read_the_others_rows_are_refused():
    document = base()
    document["graph"]["encoder"] = "tied_encoder"
    document["graph"]["decoder"] = {"kind": "linear_decoder", "norm": "free", "from": {"code": "gate", "dictionary": "encoder.weight"}}
    with pytest.raises(AssemblyError, match="ring"):
        assemble(parse(document), model=6)
