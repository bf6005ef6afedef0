"""The report of a study: a page for people to explore, and a Markdown form with figures to publish."""

from archsearch._lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Report": "archsearch.reporting.report.data",
        "gather": "archsearch.reporting.report.data",
        "save_report": "archsearch.reporting.report.page",
        "save_markdown": "archsearch.reporting.report.markdown",
    },
)
