"""On an accelerator: the stacked executor trains what the looped one trains on a processor."""

from __future__ import annotations

import pytest
import torch

from archsearch.assembler.parse import parse
from archsearch.training.loop import train
from archsearch.training.looped import Looped
from archsearch.training.member import start
from archsearch.training.stacked import Stacked
from tests.blocks.harness import base, data


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no accelerator")
def test_stacked_there_equals_looped_here() -> None:
    documents = []
    for k in (1, 2, 4):
        document = base()
        document["graph"] |= {"gate": {"kind": "batch_topk", "k": k}, "decoder": "linear_decoder"}
        documents.append(parse(document))
    here = [start(document, data(), data(), precision="float64") for document in documents]
    rows = {name: values.cuda() for name, values in data().items()}
    there = [start(document, rows, rows, precision="float64", device="cuda") for document in documents]
    train(here, Looped())
    train(there, Stacked())
    for one, other in zip(here, there, strict=True):
        for name, value in one.sae.state_dict().items():
            torch.testing.assert_close(other.sae.state_dict()[name].cpu(), value, rtol=1e-7, atol=1e-9)
