"""Declarative architecture search for sparse autoencoders."""

from archsearch._lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "SAE": "archsearch.assembler.sae",
        "Space": "archsearch.spec.space",
        "assemble": "archsearch.assembler.build",
        "evaluate": "archsearch.evaluation.metrics",
        "fold": "archsearch.assembler.fold",
        "load_sae": "archsearch.assembler.build",
        "open_activations": "archsearch.activations.source",
        "parse": "archsearch.assembler.parse",
        "read_study": "archsearch.search.ledger",
        "recipe": "archsearch.recipes",
        "run_study": "archsearch.search.study",
        "start": "archsearch.training.member",
        "train": "archsearch.training.loop",
        "use_blocks": "archsearch.blocks.catalogue",
    },
)
