"""What an event sees of one SAE in training: its dictionaries, the parameters that belong to each latent, and data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Generator, Tensor


@dataclass
class LatentParameter:
    """A parameter whose first axis runs over latents.

    `value` is changed in place; `restart(mask)` makes the optimizer forget what it knew of the rows in a mask; `moments` are its tensors of
    the same shape; `role` is the parameter's signal type (`dictionary`, `weight`) or empty; `source` names the signal a row of that role is
    a direction in, `hooks` the inputs behind that, or the targets that a dictionary rebuilds; `fill` is what the parameter holds before
    any initialisation; one that is not `drawn` stays that way.
    """

    label: str
    value: Tensor
    moments: dict[str, Tensor]
    restart: Callable[[Tensor], None]
    role: str = ""
    source: str = ""
    fill: float = 0.0
    drawn: bool = True
    hooks: frozenset[str] = frozenset()


@dataclass
class Rows:
    """Dictionary rows that are no parameter: `now()` makes them of others; `source` and `hooks` as of a parameter's rows."""

    source: str
    hooks: frozenset[str]
    now: Callable[[], Float[Tensor, "latent model"]]


@dataclass
class DictionaryView:
    """One dictionary of the SAE: everything that belongs to its latents.

    `own`: parameters indexed by latent, with encoder rows (`role == "weight"`) and dictionary rows (`role == "dictionary"`) among them;
    `idle`: rows seen since each latent last fired; `unit_norm`: whether training keeps the dictionary's rows at norm 1; `reads`: inputs
    behind its encoders; `made`: dictionary rows that are no parameter.
    """

    name: str
    own: list[LatentParameter]
    idle: Float[Tensor, " latent"]
    unit_norm: bool
    reads: frozenset[str] = frozenset()
    made: list[Rows] = field(default_factory=list)

    def foreign(self, rows: LatentParameter | Rows) -> bool:
        """Tells whether dictionary rows rebuild a hook point that none of the encoders reads."""
        return bool(self.reads and rows.hooks) and not self.reads & rows.hooks

    def role(self, role: str) -> list[LatentParameter]:
        """Returns the parameters of one role."""
        return [parameter for parameter in self.own if parameter.role == role]


@dataclass
class Fitting:
    """A block that starts from data: `fit` takes `rows` rows of the input named `source`."""

    source: str
    rows: int
    fit: Callable[[Float[Tensor, "rows model"]], None]


@dataclass
class SAEView:
    """One SAE as an event sees it.

    `dictionaries`: in the spec's order; `biases`: (input name, [model] vector added to its reconstruction); `free`: parameters with no
    latent axis first that no other field holds and that start drawn; `run_rows`: rows of the whole run; `sample(n, generator)`: rows of the
    train split by input name; `signals(rows)`: every signal computed from them at inference; `row_loss(rows)`: squared error of each row,
    in scaled units; `fittings`: blocks that start from data, in the graph's order.
    """

    dictionaries: list[DictionaryView]
    biases: list[tuple[str, Tensor]]
    free: dict[str, Tensor]
    run_rows: int
    sample: Callable[[int, Generator], dict[str, Float[Tensor, "batch model"]]]
    signals: Callable[[dict[str, Tensor]], dict[str, Tensor]]
    row_loss: Callable[[dict[str, Tensor]], Float[Tensor, " batch"]]
    fittings: list[Fitting] = field(default_factory=list)
