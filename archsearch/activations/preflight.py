"""What is wrong with a source of activations as far as cheap facts tell: files, headers, names of hook points; nothing is harvested."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from archsearch.activations.bundled_hooks import BUNDLED_HOOKS, NUM_BLOCKS
from archsearch.activations.dictionary_files import dictionary_problems, names_of, read_document
from archsearch.activations.documents import SUFFIXES
from archsearch.activations.headers import file_problems
from archsearch.activations.hooks import hook_problems, unknown_hook
from archsearch.errors import InvalidInput, Problem
from archsearch.spec.activations import ActivationsSpec, BundledSource, DictionarySource, FileSource, ModelSource, SyntheticSource
from archsearch.spec.yaml import Document, located


def check_activations(spec: ActivationsSpec, source: Document | None = None, prefix: str = "activations") -> None:
    """Refuses a source that cannot be opened, in milliseconds.

    Args:
        spec: the source.
        source: the file it is written in, for lines.
        prefix: where it stands there.

    Raises:
        InvalidInput: every problem found, with its line.
    """
    match spec:
        case FileSource():
            problems = file_problems(spec)
        case ModelSource():
            problems = _model(spec)
        case BundledSource():
            problems = _bundled(spec.hooks)
        case DictionarySource():
            problems = dictionary_problems(spec)
        case SyntheticSource():
            problems = []
    if problems:
        source = source or Document({})
        raise InvalidInput(located(problems, source.marks, source.file, prefix))


def check_inputs(spec: ActivationsSpec, inputs: Collection[str]) -> list[Problem]:
    """Returns a problem where an SAE reads activations that a source does not give, or leaves out some that it gives."""
    given = given_names(spec)
    if given is None or set(inputs) == set(given):
        return []
    what = f"the activations are {', '.join(map(repr, given))}, so `inputs` "
    wrong = [name for name in inputs if name not in given]
    what += f"cannot name {', '.join(map(repr, wrong))}" if wrong else "must name them all"
    return [Problem(f"{what}; write `inputs: [{', '.join(given)}]` and wire them", "inputs")]


def given_names(spec: ActivationsSpec) -> tuple[str, ...] | None:
    """Returns the names of the activations a source gives; None where only its file knows."""
    if isinstance(spec, SyntheticSource):
        return ("x",) if spec.hooks == 1 else tuple(f"view.{number}" for number in range(spec.hooks))
    if isinstance(spec, DictionarySource):
        outputs = None if dictionary_problems(spec) else read_document(spec).get("outputs")
        return names_of(list(outputs)) if isinstance(outputs, dict) else None
    return ("x",) if len(spec.hooks) < 2 else spec.hooks


def _bundled(hooks: tuple[str, ...]) -> list[Problem]:
    problems = []
    for hook in hooks:
        found = hook_problems((hook,), NUM_BLOCKS, "the bundled model")
        if not found and hook not in BUNDLED_HOOKS:
            found = [Problem(f"the bundled model has no hook point {hook!r}; {unknown_hook(hook, BUNDLED_HOOKS)}", "hook")]
        problems += found
    return problems


def _model(spec: ModelSource) -> list[Problem]:
    problems = []
    folder, data = Path(spec.model), Path(spec.data)
    if folder.is_dir():
        problems += _folder(spec, folder)
    elif _is_path(spec.model):
        problems.append(Problem(f"a model's folder must exist; {spec.model!r} does not", "model"))
    if not data.exists() and _is_path(spec.data):
        problems.append(Problem(f"text data must exist; {spec.data!r} does not", "data"))
    elif data.is_file() and data.suffix not in SUFFIXES:
        problems.append(Problem(f"text data must end in one of {', '.join(SUFFIXES)}; got {spec.data!r}", "data"))
    return problems


def _folder(spec: ModelSource, folder: Path) -> list[Problem]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [Problem(f"a model's folder must hold a readable config.json; {spec.model!r} holds none", "model")]
    blocks = next((config[key] for key in ("num_hidden_layers", "n_layer", "num_layers") if isinstance(config.get(key), int)), None)
    return hook_problems(spec.hooks, blocks, f"model {spec.model!r}") if blocks else []


def _is_path(name: str) -> bool:
    """Tells a folder's name from a hub's (`owner/name`), which is never absolute, dotted or deep."""
    return name.startswith((".", "/", "~", "\\")) or name.count("/") > 1 or name.endswith("/")
