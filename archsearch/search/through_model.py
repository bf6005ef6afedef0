"""What is wrong with SAEs that are trained through the language model of opened activations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from archsearch.activations.data import Activations
from archsearch.assembler.parse import parse
from archsearch.blocks.catalogue import catalogue
from archsearch.blocks.signals import Given
from archsearch.errors import DataError, InvalidInput, Problem
from archsearch.spec.template import Filled
from archsearch.training.window_batches import check_windows


def window_problems(documents: Iterable[Filled], activations: Activations) -> list[Problem]:
    """Returns a problem for each batch that holds no whole windows and each set of hook points that cannot be read off a splice.

    The model is opened only if one of the documents is trained through it. That there is one is checked before.
    """
    problems: dict[tuple[Any, ...], list[Problem]] = {}
    for filled in documents:
        spec = parse(filled.document)
        terms = {label: term for label, term in spec.losses.items() if Given.SPLICE in _block(term).given(term).values()}
        points = {point: label for label, term in terms.items() for point in _block(term).points(term)}
        key = (spec.training.batch, tuple(spec.outputs or spec.inputs), tuple(points))
        windows = activations.windows() if terms and key not in problems else None
        if windows is None:
            continue
        try:
            problems[key] = []
            check_windows(windows, *key)
        except InvalidInput as error:
            problems[key] = [Problem(problem.what, filled.locate(problem.path)) for problem in error.problems]
        except DataError as error:
            problems[key] = [Problem(str(error), filled.locate(f"losses.{next(iter(points.values()))}"))]
    return list(dict.fromkeys(problem for found in problems.values() for problem in found))


def _block(term: Any) -> Any:
    return catalogue()[term.kind]
