"""What a study would cost: short probes of every branch at its real sizes on random rows, and arithmetic.

Nothing is harvested and nothing is written. Random rows cost what real ones do; what they cannot tell is where effective L0 ends up.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from archsearch.activations.bridge import LanguageModel
from archsearch.activations.model import BUNDLED
from archsearch.activations.model_windows import ModelWindows
from archsearch.activations.source import open_activations
from archsearch.activations.windows import Windows
from archsearch.assembler.parse import parse
from archsearch.assembler.words import in_words
from archsearch.cli.inputs import Machine
from archsearch.evaluation.metrics import evaluate
from archsearch.search.study import baseline_trees
from archsearch.spec.activations import BundledSource, DictionarySource, FileSource, ModelSource, SyntheticSource
from archsearch.spec.space import Space, corners
from archsearch.spec.template import Filled, Template
from archsearch.training.member import Member, start
from archsearch.training.memory import keep_memory

STEPS = 30
"""Steps of a probe, after a tenth of that to warm up."""

MOST_PROBES = 12
_PROBE_ROWS = 8192
_EVAL_SPLITS = 3  # calibrate, validate, test


@dataclass(frozen=True)
class Probe:
    """One branch, timed beside as many like it as train at a time."""

    words: str
    parameters: int
    step_seconds: float
    steps: int
    tokens: int
    measure_row_seconds: float
    baseline: str | None = None

    @property
    def run_seconds(self) -> float:
        """Training time of one run."""
        return self.steps * self.step_seconds


@dataclass(frozen=True)
class Estimate:
    """What a study or a run would cost where nothing is stopped early; seconds are wall clock on this machine.

    `abreast`: SAEs that train at a time.
    """

    runs: int
    run_tokens: int
    harvest_tokens: int
    d_model: int
    store_bytes: int
    disk_bytes: int
    memory_bytes: int
    harvest_seconds: float
    train_seconds: float
    measure_seconds: float
    device: str
    executor: str
    precision: str
    abreast: int
    probes: list[Probe] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Wall clock of everything."""
        return self.harvest_seconds + self.train_seconds + self.measure_seconds

    def as_dict(self) -> dict[str, Any]:
        """Returns the estimate as plain data."""
        return {**asdict(self), "seconds": self.seconds}


@dataclass(frozen=True)
class _Data:
    """What is known of activations before they are there."""

    d_model: int
    hooks: int
    train_rows: int
    eval_rows: int
    stored: bool
    row_seconds: float = 0.0
    windows: ModelWindows | None = None

    @property
    def rows(self) -> int:
        return self.train_rows + _EVAL_SPLITS * self.eval_rows

    @property
    def numbers(self) -> int:
        return self.rows * self.d_model * self.hooks


def known_width(source: Any) -> int | None:
    """Returns the width of a source's rows if its settings say it."""
    return source.model if isinstance(source, SyntheticSource) else None


def cost_of_space(space: Space, machine: Machine, d_model: int | None = None) -> Estimate:
    """Returns what the study of a space would cost: trials on the mean of the branches, baselines each by itself."""
    data = _data(space.activations, machine.device, d_model)
    study = space.study
    abreast = min(machine.executor.abreast(study.levels), study.trials)
    searched = [_probe(filled.document, data, machine, abreast) for filled in _structures(space.template)]
    tuned = [_baseline(name, tree, data, machine, abreast) for name, tree in baseline_trees(space).items()]
    each = study.baseline_asks * study.levels
    runs = [(study.trials / len(searched), probe) for probe in searched] + [(each, probe) for probe in tuned]
    passes = 1 + (study.points.each(study.band, study.l0) if study.points else 0)
    return _estimate(runs, data, machine, abreast, passes, spliced=isinstance(space.activations, (BundledSource, ModelSource)))


def cost_of_sae(spec: Any, machine: Machine, d_model: int) -> Estimate:
    """Returns what training one SAE on activations of that width would cost, the activations being there."""
    data = _Data(d_model, len(spec.inputs), spec.training.tokens, _PROBE_ROWS, stored=False)
    probe = _probe(spec.model_dump(mode="json", by_alias=True), data, machine, 1)
    return _estimate([(1, probe)], data, machine, abreast=1, passes=1, spliced=False)


def _structures(template: Template) -> list[Filled]:
    """Returns the largest corner of every structure, at most `MOST_PROBES` of them evenly spread."""
    discrete = {name for name, parameter in template.parameters().items() if parameter.discrete}
    last: dict[tuple[Any, ...], Filled] = {}
    for filled in corners(template):  # low, middle, high: the last of a structure is its high one
        last[tuple(sorted((name, str(value)) for name, value in filled.params.items() if name in discrete))] = filled
    found = list(last.values())
    if len(found) <= MOST_PROBES:
        return found
    return [found[round(index * (len(found) - 1) / (MOST_PROBES - 1))] for index in range(MOST_PROBES)]


def _baseline(name: str, tree: dict[str, Any], data: _Data, machine: Machine, abreast: int) -> Probe:
    filled = _structures(Template.read(tree, root=("baselines", name)))[0]
    return _probe(filled.document, data, machine, abreast, name)


def _probe(document: dict[str, Any], data: _Data, machine: Machine, abreast: int, baseline: str | None = None) -> Probe:
    """Times a few steps of as many SAEs of one spec as train at a time, and a short evaluation of one, on random rows."""
    keep_memory()
    spec = parse(document)
    generator = torch.Generator().manual_seed(0)
    count = max(_PROBE_ROWS, spec.training.batch)
    rows = {name: torch.randn(count, data.d_model, generator=generator).to(machine.device) for name in spec.inputs}
    where: dict[str, Any] = {"device": machine.device, "precision": machine.precision}
    members = [start(spec, rows, rows, windows=lambda: data.windows, **where) for _ in range(abreast)]
    member = members[0]
    machine.executor.advance(members, min(STEPS // 10, member.total_steps))
    step_seconds = _timed(members, machine)
    begun = time.perf_counter()
    evaluate(member.sae, rows)
    _wait(machine)
    measured = (time.perf_counter() - begun) / count
    receipt = member.assembly.receipt
    words = f"baseline {baseline}" if baseline else in_words(spec.model_dump(mode="json", by_alias=True))
    return Probe(words, receipt.parameters, step_seconds, receipt.steps, receipt.steps * spec.training.batch, measured, baseline)


def _timed(members: list[Member], machine: Machine) -> float:
    begun = time.perf_counter()
    machine.executor.advance(members, STEPS)
    _wait(machine)
    return (time.perf_counter() - begun) / STEPS


def _wait(machine: Machine) -> None:
    if machine.device.startswith("cuda"):
        torch.cuda.synchronize()


def _estimate(runs: Sequence[tuple[float, Probe]], data: _Data, machine: Machine, abreast: int, passes: int, spliced: bool) -> Estimate:
    """Adds up what runs cost, `abreast` of them at a time, each measured on so many passes over the validate split."""
    splice = data.row_seconds * 3 * 8192 if spliced else 0.0  # a whole pass of the model costs more than one up to the hook
    largest = max((probe.parameters for _, probe in runs), default=0)
    total = round(sum(count for count, _ in runs))
    store = 2 * data.numbers if data.stored else 0
    return Estimate(
        runs=total,
        run_tokens=round(sum(count * probe.tokens for count, probe in runs)),
        harvest_tokens=data.rows,
        d_model=data.d_model,
        store_bytes=store,
        disk_bytes=store + total * 4 * largest + 10_000_000,  # weights of every SAE at worst, and the report
        memory_bytes=_held() + 4 * data.numbers + 16 * largest * abreast,
        harvest_seconds=data.rows * data.row_seconds if data.stored else 0.0,
        train_seconds=sum(count * probe.run_seconds for count, probe in runs) / abreast,
        measure_seconds=sum(count * (passes * probe.measure_row_seconds * data.eval_rows + splice) for count, probe in runs),
        device=machine.device,
        executor=machine.executor.name,
        precision=machine.precision,
        abreast=abreast,
        probes=[probe for _, probe in runs],
    )


def _held() -> int:
    """Returns the most memory this process has held so far, probes included (Linux counts in kilobytes, macOS in bytes)."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


def _data(source: Any, device: str, d_model: int | None) -> _Data:
    """Returns what can be known of a source's rows without harvesting them; a model is run on one batch of windows."""
    match source:
        case SyntheticSource():
            return _Data(source.model, source.hooks, source.rows, source.eval_rows, stored=False)
        case FileSource() | DictionarySource():
            opened = open_activations(source, device="cpu")
            return _Data(opened.d_model, len(opened.names), opened.rows("train"), opened.rows("validate"), stored=False)
        case BundledSource():
            width, seconds, windows = _harvested(str(BUNDLED), source.hooks, 256, 64, "float32", True, device)
        case ModelSource():
            width, seconds, windows = _harvested(source.model, source.hooks, source.context, source.batch, source.dtype, source.bos, device)
        case _:
            raise TypeError(f"no estimate is written for the source {type(source).__name__}")
    return _Data(d_model or width, len(source.hooks), source.tokens, source.eval_tokens, True, seconds, windows)


def _harvested(
    name: str, hooks: tuple[str, ...], context: int, batch: int, dtype: str, bos: bool, device: str
) -> tuple[int, float, ModelWindows | None]:
    """Returns the width at the hook points, the seconds a row takes, and the windows, from one batch of windows of one token.

    Windows are those an SAE trained through the model is timed on; there are none of a model in 16 bits.
    """
    model = LanguageModel(name, device, dtype)
    model.require(hooks)
    widths: list[int] = []
    edits = {hook: lambda value: widths.append(value.flatten(2).shape[-1]) for hook in hooks}
    tokens = torch.zeros(batch, min(context, model.context), dtype=torch.long)
    model.run(tokens[:1], edits, whole=False)
    begun = time.perf_counter()
    model.run(tokens, edits, whole=False)
    seconds = (time.perf_counter() - begun) / tokens.numel()
    if model.dtype.itemsize < 4:
        return widths[0], seconds, None
    whole = Windows(tokens, torch.full((batch,), tokens.shape[1]), model.bos if bos else None)
    return widths[0], seconds, ModelWindows(model, dict(zip(("x",) if len(hooks) == 1 else hooks, hooks)), whole)
