"""Leaves the peers' tests alone where the peers are not installed; `make peer` installs them."""

from __future__ import annotations

import warnings
from importlib import import_module
from importlib.util import find_spec

PEERS = ("sae_lens", "dictionary_learning", "dictionary_learning.trainers")

collect_ignore_glob = []
if all(find_spec(name.partition(".")[0]) for name in PEERS):
    with warnings.catch_warnings():  # they and what they need warn while they are imported; our own tests count warnings as errors
        warnings.simplefilter("ignore")
        for name in PEERS:
            import_module(name)
else:
    collect_ignore_glob.append("test_*.py")
