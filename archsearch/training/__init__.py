"""Training: members side by side in cohorts, under one of two executors."""

from archsearch._lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Crew": "archsearch.training.crew",
        "Member": "archsearch.training.member",
        "start": "archsearch.training.member",
        "train": "archsearch.training.loop",
        "Looped": "archsearch.training.looped",
        "Stacked": "archsearch.training.stacked",
        "save_member": "archsearch.training.checkpoint",
        "load_member": "archsearch.training.checkpoint",
    },
)
