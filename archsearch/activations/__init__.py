"""Activations: bundled model, any model, files, synthetic, dictionary rows; the store, the splits, the splice."""

from archsearch._lazy import lazy

_MODULES = {
    "bridge": ("LanguageModel",),
    "corpus": ("Document", "standard_library"),
    "data": ("Activations",),
    "dictionary_rows": ("open_dictionary",),
    "documents": ("read_documents",),
    "file": ("open_file",),
    "harvest": ("collect", "harvest_activations", "windows_of"),
    "hub": ("hub_commit", "read_hub"),
    "model": ("open_bundled", "open_model"),
    "model_windows": ("ModelWindows",),
    "preflight": ("check_activations", "check_inputs"),
    "source": ("open_activations",),
    "splice": ("SpliceResult", "Splicer"),
    "splits": ("SHARES", "SPLITS", "split_of"),
    "store": ("Store", "StoreWriter", "default_cache", "open_store"),
    "synthetic": ("codes", "open_synthetic"),
    "windows": ("Windows", "cut"),
}

__getattr__, __dir__ = lazy(__name__, {name: f"{__name__}.{module}" for module, names in _MODULES.items() for name in names})
