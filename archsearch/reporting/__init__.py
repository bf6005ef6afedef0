"""Reports of a study: plain data first, then words, tables, pictures and pages made from it."""

from archsearch._lazy import lazy

__getattr__, __dir__ = lazy(
    __name__,
    {
        "FrontRow": "archsearch.reporting.front",
        "front_json": "archsearch.reporting.front",
        "front_rows": "archsearch.reporting.front",
        "front_table": "archsearch.reporting.table",
        "in_words": "archsearch.assembler.words",
        "family": "archsearch.assembler.words",
        "save_page": "archsearch.reporting.page",
        "save_png": "archsearch.reporting.figures",
        "summary": "archsearch.reporting.table",
        "watch": "archsearch.reporting.live",
        "write_results": "archsearch.reporting.results",
    },
)
