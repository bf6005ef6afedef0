"""Shared by all tests: one thread, shapes checked at run time on the tensor floors."""

from __future__ import annotations

import os

import torch
from jaxtyping import install_import_hook

os.environ["ARCHSEARCH_NO_INSTALLED_BLOCKS"] = "1"  # what a developer has installed besides must not decide what is tested

torch.set_num_threads(1)
install_import_hook(["archsearch.blocks", "archsearch.assembler.sae", "archsearch.training", "archsearch.evaluation"], "beartype.beartype")
