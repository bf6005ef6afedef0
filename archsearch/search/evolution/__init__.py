"""Evolution over graphs: proposes structures that no filling of a space's holes reaches."""

from archsearch._lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Evolution": "archsearch.search.evolution.evolution",
        "Genome": "archsearch.search.evolution.evolution",
    },
)
