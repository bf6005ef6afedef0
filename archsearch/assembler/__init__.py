"""From specs to modules: wiring, checks, receipt, build."""

from archsearch._lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "SAE": "archsearch.assembler.sae",
        "assemble": "archsearch.assembler.build",
        "Assembly": "archsearch.assembler.build",
        "load_sae": "archsearch.assembler.build",
        "Receipt": "archsearch.assembler.receipt",
    },
)
