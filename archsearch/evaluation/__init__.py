"""Measurements of trained SAEs on held-out activations."""

from archsearch._lazy import lazy

__getattr__, __dir__ = lazy(__name__, {"Measurements": "archsearch.evaluation.metrics", "evaluate": "archsearch.evaluation.metrics"})
