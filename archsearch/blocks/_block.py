"""What every block is: settings, a source, ports, and the verbs of its moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from archsearch.blocks.signals import Given, Info, Port, Signal, Sizes
from archsearch.spec.block import BlockSpec, Paper

Out = dict[str, Tensor]
"""Outputs of a step by name; names of declared state among them are written back by the executor."""


class Block(nn.Module):
    """One interchangeable part.

    A concrete block is final: to vary it, write another or wrap it. Rules that can be checked when the class is defined are
    checked then. Each slot's `_base.py` adds the contract of its moment.
    """

    slot: ClassVar[str] = ""
    default_kind: ClassVar[str] = ""
    """Kind a spec gets in this slot when it names none; empty where a spec must choose."""
    plain_kind: ClassVar[str] = ""
    """Kind that goes without saying where an SAE is put in words; empty: the default kind, else the one with the fewest settings."""
    sparsity: ClassVar[str] = ""
    """Name of the setting a sweep over sparsity varies (`k`, a penalty's `weight`), empty for a block that has none."""
    l0_setting: ClassVar[str] = ""
    """Name of the setting that is itself an L0 (`k`, a penalty's `target`), empty for a block that has none."""
    abstract: ClassVar[bool] = True
    Spec: ClassVar[type[BlockSpec]]
    paper: ClassVar[Paper | None]

    def __init_subclass__(cls, abstract: bool = False, **unknown: Any) -> None:
        super().__init_subclass__(**unknown)
        parents = [base for base in cls.__mro__[1:] if issubclass(base, Block) and not base.abstract]
        if parents:
            raise TypeError(f"{cls.__name__}: a block is final; write another or wrap {parents[0].__name__}")
        cls.abstract = abstract
        if abstract:
            return
        for name in ("Spec", "paper"):
            if name not in cls.__dict__:
                raise TypeError(f"{cls.__name__}: a block must define `{name}`")
        if "kind" not in cls.Spec.model_fields or not isinstance(cls.Spec.model_fields["kind"].default, str):
            raise TypeError(f"{cls.__name__}.Spec: `kind` must be a Literal with itself as default")
        silent = [name for name, field in cls.Spec.model_fields.items() if name != "kind" and not field.description]
        if silent:
            raise TypeError(f"{cls.__name__}.Spec: fields without a description: {silent}")
        if not (cls.__doc__ or "").strip():
            raise TypeError(f"{cls.__name__}: a block must say what it does in its docstring")

    @classmethod
    def kind(cls) -> str:
        """Returns the block's name, unique over the catalogue."""
        return cls.Spec.model_fields["kind"].default

    if TYPE_CHECKING:
        # Settings, states and parameters are registered by name; a checker cannot see them.
        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def settled_frac(cls, spec: Any) -> float:
        """Returns the share of the run (0 to 1) after which nothing that this block moves over a run moves any more.

        Before it an SAE's numbers say little about how it ends: it is neither stopped nor used to stop others.
        """
        return 0.0

    def setting(self, name: str, value: float | int) -> None:
        """Registers a numeric setting that keeps shapes: a zero-dimensional buffer, so members with other values share the program."""
        dtype = torch.int64 if isinstance(value, int) else torch.get_default_dtype()
        self.register_buffer(name, torch.tensor(value, dtype=dtype))
        self._names("setting_names").append(name)

    def state(self, name: str, value: Tensor) -> None:
        """Registers a tensor that moves with training: read as a buffer, returned as an output."""
        self.register_buffer(name, value)
        self._names("state_names").append(name)

    def parameter(self, name: str, axes: tuple[str, ...], sizes: dict[str, int], fill: float = 0.0, drawn: bool = True) -> None:
        """Registers a learned tensor with named axes, filled with `fill` (what a revived latent is reset to).

        Initialisation gives matrices random entries; one that is not `drawn` starts as its fill.
        """
        value = torch.full([sizes[axis] for axis in axes], fill, dtype=torch.get_default_dtype())
        setattr(self, name, nn.Parameter(value))
        self.__dict__.setdefault("parameter_axes", {})[name] = axes
        self.__dict__.setdefault("parameter_fills", {})[name] = fill
        if not drawn:
            self._names("undrawn_names").append(name)

    def _names(self, which: str) -> list[str]:
        return self.__dict__.setdefault(which, [])

    @property
    def settings(self) -> list[str]:
        """Names of the settings members of a group may differ in."""
        return self._names("setting_names")

    @property
    def states(self) -> list[str]:
        """Names of the tensors written back after a step."""
        return self._names("state_names")

    @property
    def undrawn(self) -> list[str]:
        """Names of the parameters that start as their fill, matrices or not."""
        return self._names("undrawn_names")

    @property
    def axes(self) -> dict[str, tuple[str, ...]]:
        """Axis names of each of the block's own parameters."""
        return self.__dict__.get("parameter_axes", {})

    @property
    def fills(self) -> dict[str, float]:
        """Initial value of each of the block's own parameters, before any initialisation event."""
        return self.__dict__.get("parameter_fills", {})


class StepBlock(Block, abstract=True):
    """A block of the step: pure, written for one SAE, run alone or under `torch.func.vmap`.

    No in-place change, no `.item()`, no branch on data, no random draws.
    """

    inputs: ClassVar[dict[str, Port]] = {}
    outputs: ClassVar[dict[str, Signal]] = {}
    exposes: ClassVar[dict[str, Signal]] = {}
    """Parameter signals: attributes (or properties) of the module that other blocks may read."""

    @classmethod
    def ports(cls, spec: Any) -> dict[str, Port]:
        """Returns the ports this spec has; the first is the main port."""
        return cls.inputs

    @classmethod
    def gives(cls, spec: Any) -> dict[str, Signal]:
        """Returns the outputs this spec has, losses apart; the first is the main output."""
        return cls.outputs

    @classmethod
    def produces(cls, spec: Any, sizes: Sizes) -> dict[str, Info]:
        """Returns type, width and levels of each output; the first is the main output."""
        levels = max((info.levels for infos in sizes.inputs.values() for info in infos), default=0)
        return {name: Info(type, cls._width(type, sizes), levels) for name, type in cls.gives(spec).items()}

    @classmethod
    def given(cls, spec: Any) -> dict[str, Given]:
        """Returns what this spec's `forward` is handed besides its ports, by argument name.

        `infer` is handed none of it: a block that stands in the graph and takes something defines `infer`.
        """
        return {}

    @classmethod
    def points(cls, spec: Any) -> tuple[str, ...]:
        """Returns the hook points whose rows this spec reads off a splice."""
        return ()

    @classmethod
    def shared(cls, spec: Any) -> dict[str, Signal]:
        """Returns the parameter signals this spec exposes."""
        return cls.exposes

    @staticmethod
    def _width(type: Signal, sizes: Sizes) -> int:
        return {Signal.PRE: sizes.latent, Signal.CODE: sizes.latent, Signal.ACTIVE: sizes.latent, Signal.LOSS: 1}.get(type, sizes.model)

    @classmethod
    def rank(cls, spec: Any, ranks: list[int], sizes: Sizes) -> int:
        """Returns the rank of what flows from the SAE's input through this block without passing a code.

        `ranks` are those of its inputs. The default is their sum; a block with a bottleneck overrides it.
        """
        return sum(ranks)

    @classmethod
    def flops(cls, spec: Any, sizes: Sizes) -> int:
        """Returns the multiply-adds of one row's forward pass, times two."""
        return 0

    def infer(self, **ports: Any) -> Out:
        """Computes the outputs as at inference; the same as the step unless a block says otherwise."""
        return self(**ports)

    def project(self, gradients: dict[str, Tensor], parameters: dict[str, Tensor]) -> None:
        """Changes gradients in place before the optimizer (between steps; a leading member axis is allowed)."""

    def renormalise(self, parameters: dict[str, Tensor]) -> None:
        """Changes parameters in place after the optimizer (between steps; a leading member axis is allowed)."""
