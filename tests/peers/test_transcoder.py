"""Transcoders: SAELens, which has them for inference alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from sae_lens.saes.transcoder import (
    JumpReLUSkipTranscoder,
    JumpReLUSkipTranscoderConfig,
    JumpReLUTranscoder,
    JumpReLUTranscoderConfig,
    SkipTranscoder,
    SkipTranscoderConfig,
    Transcoder,
    TranscoderConfig,
)

from archsearch.assembler.build import assemble
from archsearch.assembler.parse import parse
from tests.peers.harness import MODEL, WIDTH

pytestmark = pytest.mark.peer

PEERS: dict[str, tuple[Any, Any]] = {
    "relu": (Transcoder, TranscoderConfig),
    "relu with a skip path": (SkipTranscoder, SkipTranscoderConfig),
    "jumprelu": (JumpReLUTranscoder, JumpReLUTranscoderConfig),
    "jumprelu with a skip path": (JumpReLUSkipTranscoder, JumpReLUSkipTranscoderConfig),
}


@pytest.mark.parametrize("name", PEERS)
def test_codes_and_reconstructions_are_equal(name: str):
    cls, config = PEERS[name]
    theirs = cls(config(d_in=MODEL, d_sae=WIDTH, d_out=MODEL, dtype="float64", device="cpu", apply_b_dec_to_input=False)).double()
    generator = torch.Generator().manual_seed(0)
    for label, value in theirs.named_parameters():
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        value.data.copy_(drawn.abs() if label == "threshold" else drawn)
    gate = name.split()[0]
    document: dict[str, Any] = {
        "width": WIDTH,
        "inputs": ["before", "after"],
        "scale": {"kind": "scaling", "power": 0.0},
        "graph": {"encoder": "linear_encoder", "gate": gate, "decoder": {"kind": "linear_decoder", "norm": "free"}},
        "outputs": {"after": "decoder"},
    }
    names = {"W_enc": "encoder.weight", "b_enc": "encoder.bias", "W_dec": "decoder.dictionary", "b_dec": "decoder.bias"}
    if "skip" in name:
        document["graph"] |= {
            "skip": {"kind": "linear_map", "from": "before"},
            "output": {"kind": "add", "from": ["decoder", "skip"]},
        }
        document["outputs"] = {"after": "output"}
        names["W_skip"] = "skip.matrix"
    if gate == "jumprelu":
        names["threshold"] = "gate.theta"
    ours = assemble(parse(document), model=MODEL, dtype=torch.float64).sae
    for label, value in theirs.named_parameters():
        place = dict(ours.named_parameters())[f"blocks.{names[label]}"]
        place.data.copy_(value.T if label == "W_enc" else value)
    rows = torch.randn(64, MODEL, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        code, made = ours.encode({"before": rows}), ours.reconstruct({"before": rows})["after"]
        torch.testing.assert_close(code, theirs.encode(rows), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(made, theirs(rows), rtol=1e-12, atol=1e-12)
    assert 0 < (code != 0).sum() < code.numel()
