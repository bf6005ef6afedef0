"""Search: studies, their sampling, and the tables that hold the truth about them."""

from archsearch._lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "StudyRecord": "archsearch.search.records",
        "TrialRecord": "archsearch.search.records",
        "front": "archsearch.search.records",
        "read_study": "archsearch.search.ledger",
        "run_study": "archsearch.search.study",
    },
)
