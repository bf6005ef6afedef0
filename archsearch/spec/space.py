"""A space: an SAE spec with holes, the activations it is trained on, and the study that searches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from archsearch.errors import InvalidInput, Problem, nearest
from archsearch.spec.activations import ActivationsSpec, BundledSource
from archsearch.spec.block import SpecModel
from archsearch.spec.differences import differences
from archsearch.spec.hashes import digest, written
from archsearch.spec.holes import VALUES, ChoiceHole, FloatHole, IntHole, OneOf, Repeat, Suggest, is_number
from archsearch.spec.ladder import LadderSpec
from archsearch.spec.messages import problems_of
from archsearch.spec.points import PointsSpec, misplaced
from archsearch.spec.stop import StopSpec
from archsearch.spec.template import Filled, Parameter, Template
from archsearch.spec.yaml import Document, Key, load, located

TARGET = "target_l0"
"""Field of an SAE that a sweep over L0 opens."""

MET = 0.1
"""How far off the L0 asked for an SAE may end and count as there, as a share of it."""

Objective = Literal["l0", "fvu", "ce_recovered", "dead_frac", "flops"]


def _differ(objectives: list[Objective]) -> list[Objective]:
    if len(set(objectives)) != len(objectives):
        raise ValueError("may name each objective once")
    return objectives


def _two(band: Any) -> Any:
    if not isinstance(band, (list, tuple)) or len(band) != 2:
        raise ValueError("must be two numbers, lowest and highest, as in `[4, 64]`")
    return band


def _rising(band: tuple[float, float]) -> tuple[float, float]:
    if not 0 < band[0] < band[1]:
        raise ValueError("must be [lowest, highest] with 0 < lowest < highest")
    return band


LEVELS = (8, 16, 32, 64)
"""Levels of effective L0 where a space names none."""


class L0Sweep(SpecModel):
    """Levels of effective L0 that every structure is brought to."""

    l0: list[int | float] = Field(min_length=1, description="Effective L0 of each level (latents per row).")


def _sweep(value: Any) -> Any:
    """Refuses what is neither a number of levels nor levels of L0, in one sentence for both."""
    if value is None or isinstance(value, L0Sweep) or (is_number(value) and value >= 1 and value % 1 == 0):
        return value
    levels: Any = value.get("l0") if isinstance(value, dict) and len(value) == 1 else None
    if not isinstance(levels, list) or not levels:
        raise ValueError("must be a whole number of levels, 1 or more, or a list of L0s, as in `{l0: [8, 16, 32, 64]}`")
    if not all(is_number(level) and level > 0 for level in levels) or len(set(levels)) < len(levels):
        raise ValueError(f"must be different numbers above 0; got {levels!r}")
    return value


class StudySpec(SpecModel):
    """How a space is searched."""

    trials: int = Field(24, ge=1, description="SAEs trained, each sparsity level counting as one (count).")
    sweep: Annotated[Annotated[int, Field(ge=1)] | L0Sweep | None, BeforeValidator(_sweep)] = Field(
        None,
        description="Sparsity levels each structure is trained at: `{l0: [8, 16, 32, 64]}` brings each to those, whatever its gate; "
        "a number spreads as many over the hole that moves sparsity. Unset: those L0, or 4 where `sparsity` names a hole.",
    )
    objectives: Annotated[list[Objective], AfterValidator(_differ)] = Field(
        ["l0", "fvu"], min_length=1, description="What is minimised (ce_recovered: maximised)."
    )
    band: Annotated[tuple[float, float], BeforeValidator(_two), AfterValidator(_rising)] = Field(
        (4, 80), description="Effective L0 a front member may have: lowest, highest (latents per row)."
    )
    seed: int = Field(0, ge=0, description="Seed of the sampler.")
    stop: StopSpec | None = Field(None, description="Ends the study before all its trials are done; unset: nothing does.")
    ladder: LadderSpec | None = Field(None, description="Stops SAEs that fall behind; unset: all are trained to the end.")
    points: PointsSpec | None = Field(None, description="Lower L0s that finished SAEs are cut to and measured at; unset: none.")
    baseline_asks: int = Field(1, ge=1, description="Draws of the other holes each baseline gets, each swept over sparsity (count).")
    sparsity: str | list[str] | None = Field(
        None, description="Name of the hole swept over, or several for several branches; needed where a structure has two."
    )

    @model_validator(mode="after")
    def _judged_by_two(self) -> StudySpec:
        if self.ladder is not None and len(self.objectives) != 2:
            raise ValueError(f"a ladder judges by two objectives; got {', '.join(self.objectives)}")
        return self

    @property
    def l0(self) -> tuple[int | float, ...]:
        """Levels of effective L0 structures are brought to; none where the sweep is over a hole."""
        if self.sweep is None:
            return () if self.sparsity else LEVELS
        return tuple(self.sweep.l0) if isinstance(self.sweep, L0Sweep) else ()

    @property
    def levels(self) -> int:
        """Sparsity levels of a structure (count)."""
        return len(self.l0) or (self.sweep if isinstance(self.sweep, int) else len(LEVELS))

    @property
    def cut_to(self) -> tuple[float, ...]:
        """L0s that finished SAEs are cut to; none without points."""
        return self.points.levels(self.band, self.l0) if self.points else ()

    @property
    def swept(self) -> tuple[str, ...]:
        """Names given as `sparsity`."""
        return (self.sparsity,) if isinstance(self.sparsity, str) else tuple(self.sparsity or ())


def _baselines(value: Any) -> Any:
    names = isinstance(value, list) and all(isinstance(name, str) for name in value)
    trees = isinstance(value, dict) and all(isinstance(tree, dict) for tree in value.values())
    if not names and not trees:
        raise ValueError("must be a list of names of recipes, or a mapping of names to SAEs")
    if len(set(value)) < len(value):
        raise ValueError("may name each baseline once")
    return value


Baselines = Annotated[list[str] | dict[str, dict[str, Any]], BeforeValidator(_baselines)]


class Space(SpecModel):
    """A space file. `template` fills its holes."""

    name: str = Field(
        max_length=100, pattern=r"^[A-Za-z0-9_-]+$", description="Short name, also of the study's folder (letters, digits, `_`, `-`)."
    )
    question: str = Field("", description="What the study is to answer, for the report.")
    activations: ActivationsSpec = Field(BundledSource.model_validate({}), description="Where the activations come from.")
    sae: dict[str, Any] = Field(description="The SAE, with holes.")
    variants: dict[str, Any] = Field({}, description="Groups of branches, each setting several paths of the SAE together.")
    baselines: Baselines = Field([], description="Published recipes by name, or SAEs by name, trained first and reported apart.")
    study: StudySpec = Field(StudySpec.model_validate({}), description="How the space is searched.")

    _template: Template = PrivateAttr()
    _source: Document = PrivateAttr(default=Document({}))

    def model_post_init(self, context: Any) -> None:
        """Reads the holes.

        Raises:
            InvalidInput: a hole, a variant or a name of a hole that cannot be.
        """
        if self.study.sweep is not None and self.study.l0 and self.sae.get(TARGET) is not None:
            raise InvalidInput([Problem("the study's sweep says which L0s to reach; say it in one place only", f"sae.{TARGET}")])
        if self.study.points is not None and (wrong := misplaced(self.study.points, self.study.band, self.study.l0)):
            raise InvalidInput(wrong)
        self._template = Template.read(at_levels(self.sae, self.study), self.variants)
        parameters = self._template.parameters()
        if not parameters:
            raise InvalidInput([Problem("a space must leave something open; there is no hole in it", "sae")])
        if not any(is_open(parameter) for parameter in parameters.values()):
            what = "a space must leave something open; each of its holes has one value only"
            raise InvalidInput([Problem(f"{what} ({', '.join(parameters)})", "sae")])
        unknown = [name for name in self.study.swept if name not in parameters]
        if unknown:
            raise InvalidInput([Problem(f"no hole {n!r}; {nearest(n, list(parameters))}", "study.sparsity") for n in unknown])

    @classmethod
    def load(cls, path: str | Path) -> Space:
        """Reads a space file (YAML, or JSON by its name).

        Raises:
            InvalidInput: with every problem, each with file, line and path.
        """
        return cls.read(load(path))

    @classmethod
    def read(cls, source: Document) -> Space:
        """Reads a space from plain data with line marks.

        Raises:
            InvalidInput: with every problem, each with file, line and path.
        """
        problems: list[Problem] = []
        try:
            space = cls.model_validate(source.data)
            space._source = source
            return space
        except ValidationError as error:
            problems += problems_of(error, source.data, cls)
        except InvalidInput as error:
            problems += error.problems
        if "sae" in source.data and not any(p.path.startswith(("sae", "variants")) for p in problems):
            problems += _template_problems(source.data)
        raise InvalidInput(sorted(located(problems, source.marks, source.file), key=lambda p: p.line or 0))

    @property
    def template(self) -> Template:
        """The SAE with holes, and its variants."""
        return self._template

    @property
    def source(self) -> Document:
        """What was read: plain data, lines and the file's name."""
        return self._source

    def parameters(self) -> dict[str, Parameter]:
        """Returns every hole by name, with its distribution and the condition under which it is there."""
        return self.template.parameters()

    def fill(self, suggest: Suggest) -> Filled:
        """Returns an SAE document without holes; `suggest` is Optuna's `Trial`, or anything with its `suggest_*` methods."""
        return self.template.fill(suggest)

    def refill(self, params: Mapping[str, Any]) -> Filled:
        """Returns the document `params` stand for."""
        return self.template.refill(params)

    def corners(self) -> list[Filled]:
        """Returns documents that show every branch, count and choice at least once, numbers at low, middle and high."""
        return corners(self.template)

    def sparsity_hole(self, filled: Filled, fields: Mapping[str, str]) -> str | None:
        """Returns the name of the hole a structure is swept over.

        Args:
            filled: the structure, of this space or of a baseline.
            fields: name of the sparsity setting by kind, for every kind that has one (`{"topk": "k", "l1": "weight"}`).

        Raises:
            InvalidInput: there are several, and `study.sparsity` does not single one out.
        """
        found = sparsity_holes(filled, fields)
        if self.study.l0:
            return self._requested(filled, found)
        named = [name for name in found if name in self.study.swept]
        if len(found) > 1 and len(named) != 1:
            what = f"two sparsity settings are open together ({', '.join(found)}); name the one to sweep, and only that one"
            raise InvalidInput([Problem(what, "study.sparsity")])
        return next(iter(named or found), None)

    @staticmethod
    def _requested(filled: Filled, found: list[str]) -> str | None:
        if others := [name for name in found if name != TARGET]:
            what = f"the sweep goes over L0 itself, so that {', '.join(others)} cannot be a hole: give it a number"
            raise InvalidInput([Problem(f"{what}, or sweep over it instead (`sweep: 4`)", "study.sweep")])
        return TARGET if TARGET in filled.params else None

    def fingerprint(self) -> str:
        """Returns the hash of all that makes two studies comparable: everything but the question and what ends the study."""
        return digest(self._canonical())

    def difference(self, other: Space) -> list[str]:
        """Returns what differs between two spaces of different fingerprint, a line each: `path: here -> there`."""
        return [str(one) for one in differences(self._canonical(), other._canonical())]

    def _canonical(self) -> dict[str, Any]:
        groups = {
            g.name: {b: {".".join(p.path): p.value for p in patches} for b, patches in g.branches.items()} for g in self.template.groups
        }
        priors = {g.name: {"(prior)": branch} for g in self.template.groups for branch in g.prior}
        study = written(self.study)
        for name in ("trials", "stop"):
            study.pop(name, None)
        return {
            "name": self.name,
            "activations": written(self.activations),
            "sae": _plain(self.template.tree),
            "variants": {
                name: {b: _plain(patch, True) for b, patch in branches.items()} | priors.get(name, {}) for name, branches in groups.items()
            },
            "baselines": self.baselines,
            "study": study,
        }


def at_levels(sae: Any, study: StudySpec) -> Any:
    """Returns an SAE tree with a hole at the L0 it is to reach, if the sweep is over L0 and the tree does not say itself what to reach."""
    if not study.l0 or not isinstance(sae, dict) or sae.get(TARGET) is not None:
        return sae
    return {**sae, TARGET: {"choice": list(study.l0)}}


def is_open(parameter: Parameter) -> bool:
    """Tells a hole that leaves a choice from one with a single branch or value."""
    return not isinstance(parameter.hole, ChoiceHole) or len(parameter.hole.values) > 1


def _template_problems(data: Mapping[str, Any]) -> list[Problem]:
    """Reads the holes although the rest is wrong, so that one run shows every problem."""
    try:
        Template.read(data.get("sae"), data.get("variants"))
    except InvalidInput as error:
        return error.problems
    return []


class _Corner:
    """Takes what is picked, else the first branch and the number at `place` (0 low, 1 middle, 2 high)."""

    def __init__(self, picks: Mapping[str, Any], place: int):
        self._picks, self._place = picks, place

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return FloatHole(low, high, log).spread(3)[self._place]

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        values = IntHole(low, high, log).spread(3)
        return self._picks.get(name, values[min(self._place, len(values) - 1)])

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._picks.get(name, choices[0])


def corners(template: Template) -> list[Filled]:
    """Returns documents that show every branch, count and choice at least once, numbers at low, middle and high; none twice."""
    parameters = template.parameters()
    picks: list[dict[str, Any]] = [{}]
    for parameter in parameters.values():
        if parameter.discrete:
            picks += [{parameter.name: value} | _there(parameter, parameters) for value in parameter.values()]
    places = [(pick, place) for pick in picks for place in range(3)]
    if TARGET in parameters:  # what one branch can be brought to another cannot
        places += [({**pick, TARGET: level}, 1) for pick in picks for level in parameters[TARGET].values()]
    found: dict[str, Filled] = {}
    for pick, place in places:
        filled = template.fill(_Corner(pick, place))
        found.setdefault(digest(filled.params), filled)
    return list(found.values())


def _there(parameter: Parameter, parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Returns values under which `parameter` is there."""
    picks: dict[str, Any] = {}
    for name, values in parameter.condition.items():
        picks |= {name: values[0]} | _there(parameters[name], parameters)
    return picks


def sparsity_holes(filled: Filled, fields: Mapping[str, str]) -> list[str]:
    """Returns the names of the holes at a sparsity setting, sorted; an L0 to be reached is one."""
    found = [TARGET] if TARGET in filled.params else []
    for name, path in filled.path_of.items():
        block = _at(filled.document, path[:-1])
        kind = block.get("kind") if isinstance(block, dict) else None
        if isinstance(kind, str) and fields.get(kind) == path[-1]:
            found.append(name)
    return sorted(found)


def _at(node: Any, path: Key) -> Any:
    for step in path:
        node = node[step]
    return node


def _plain(node: Any, ordered: bool = False) -> Any:
    """Returns a tree with holes as plain data of one spelling; where the order of keys means something it is written down."""
    if isinstance(node, (*VALUES, OneOf, Repeat)):
        return _plain_hole(node) | ({"prior": node.prior[0]} if node.prior else {})  # none: such spaces keep their fingerprint
    if isinstance(node, dict):
        order = {"(order)": list(node)} if ordered else {}
        return {key: _plain(value, key == "graph") for key, value in node.items()} | order
    return [_plain(value) for value in node] if isinstance(node, list) else node


def _plain_hole(node: FloatHole | IntHole | ChoiceHole | OneOf | Repeat) -> dict[str, Any]:
    if isinstance(node, (FloatHole, IntHole)):
        return {"float" if isinstance(node, FloatHole) else "int": [node.low, node.high], "log": node.log}
    if isinstance(node, ChoiceHole):
        return {"choice": list(node.values)}
    if isinstance(node, OneOf):
        return {"oneof": {branch: _plain(value) for branch, value in node.branches.items()}}
    return {"repeat": _plain(node.block), "min": node.min, "max": node.max}
