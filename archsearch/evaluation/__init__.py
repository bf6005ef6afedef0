"""Measurements of trained SAEs on held-out activations."""

from archsearch._lazy import lazy

_MODULES = {
    "metrics": ("Measurements", "evaluate"),
    "pursuit": ("Amortisation", "amortisation", "gradient_pursuit", "pursuit_flops"),
    "recovery": ("Recovery", "recovery_of"),
}

__getattr__, __dir__ = lazy(__name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names})
