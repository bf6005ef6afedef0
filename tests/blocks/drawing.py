"""Draws whole SAE specs from a seed, over every block of a catalogue.

Blocks are chosen by slot and by the types of what they read and give. Kinds are named only where a topology is made of them: `add` and
`subtract`. Most draws are legal; some are wrong by chance, and some on purpose.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from archsearch.blocks._block import StepBlock
from archsearch.blocks.catalogue import Catalogue
from archsearch.blocks.signals import SPACE, Port, Signal
from archsearch.spec.block import NestedSpec
from tests.blocks.drawing_settings import Document, Settings, bounds, single_blocks, valid

ADD, SUBTRACT = "add", "subtract"
BATCH = 16


@dataclass
class Part:
    """A block of the graph: its name as read from the top, the graph entry, and its parsed settings."""

    name: str
    block: type[StepBlock]
    entry: Document
    spec: Any

    def signals(self) -> list[tuple[str, Signal]]:
        """Returns what others may read of it, with types; what a nested graph gives, its blocks give."""
        if issubclass(self.block.Spec, NestedSpec):
            return []
        idle = {"idle": Signal.IDLE} if self.block.slot == "gate" else {}
        return [
            (f"{self.name}.{out}", type) for out, type in {**self.block.gives(self.spec), **self.block.shared(self.spec), **idle}.items()
        ]


@dataclass
class Voice:
    """A dictionary: its gate, the signal the gate reads, and its decoders."""

    gate: Part
    pre: str
    decoders: list[Part]


@dataclass
class Drawn:
    """A drawn spec. `wrong` says what was made illegal on purpose; empty otherwise. `strayed`: a wire was drawn from anywhere, which may
    cut a block off from the loss. `until_frac` of its run is two steps or more.
    """

    seed: int
    document: Document
    star: str
    topology: str
    wrong: str = ""
    strayed: bool = False
    until_frac: float = 1.0


def draw(seed: int, blocks: Catalogue, star: str | None = None) -> Drawn:
    """Draws a spec; each seed has one kind it is about, every kind in turn (or `star`)."""
    kinds = sorted(blocks.blocks)
    star = star or kinds[seed % len(kinds)]
    for attempt in range(12):
        sketch = Sketch(random.Random(f"{seed}/{attempt}/{star}"), blocks, star)
        drawn = sketch.drawn(seed)
        # One in twelve that lacks something goes through all the same, to be refused.
        if (not sketch.lacking() and star in sketch.used) or sketch.rng.random() < 1 / 12:
            return drawn
    return drawn


@dataclass
class Sketch:
    """One spec being drawn."""

    rng: random.Random
    blocks: Catalogue
    star: str
    steps: int = 20
    parts: list[Part] = field(default_factory=list)
    voices: list[Voice] = field(default_factory=list)
    terms: list[Part] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    strayed: bool = False

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def kinds(self, slot: str, fits: Callable[[type[Any]], bool] = lambda block: True) -> list[str]:
        return [kind for kind in sorted(self.blocks.blocks) if self.blocks[kind].slot == slot and fits(self.blocks[kind])]

    def pick(self, slot: str, fits: Callable[[type[Any]], bool] = lambda block: True) -> str:
        """Returns a kind of a slot: the one this spec is about where it fits and is not there yet."""
        if slot == "encoder" and self.star in self.kinds("revival") and self.chance(0.9):
            fits = _has(Signal.WEIGHT)  # what a revival points at inputs
        found = self.kinds(slot, fits)
        return self.star if self.star in found and self.star not in self.used else self.rng.choice(found)

    def entry(self, kind: str, width: int) -> Document:
        self.used.add(kind)
        return {"kind": kind, **Settings(self.rng, width, self.steps).of(self.blocks[kind], careful=not self.chance(0.03))}

    def put(self, graph: Document, label: str, kind: str, width: int, prefix: str = "", source: Any = None) -> Part:
        """Draws a block into a graph."""
        block: Any = self.blocks[kind]
        graph[label] = entry = self.entry(kind, width)
        if source is not None:
            entry["from"] = source
        settings = {name: value for name, value in entry.items() if name not in ("kind", "from")}
        part = Part(prefix + label, block, entry, valid(block, settings) or block.Spec.model_construct())
        self.parts.append(part)
        return part

    # Topologies: each returns its graph, and what it adds to the document.

    def drawn(self, seed: int) -> Drawn:
        """Draws the whole spec."""
        topology = "unrolled" if self.star in self.kinds("op", _between) else self.rng.choice([name for name, _ in self.topologies()])
        width, self.steps = self.rng.choice([8, 12]), self.rng.choice([2, 4, 20, 20, 20, 20, 20])
        document: Document = {"width": width, **dict(self.topologies())[topology](width)}
        inputs = document.get("inputs", ["x"])
        document["losses"] = self.losses(width, inputs, document.get("outputs"))
        document["training"] = self.training(width)
        document |= self.singles(width, self.blocks.grammar.sae)
        if self.chance(0.15):
            self.stray()
        if self.chance(0.08) and (self.steered() or self.chance(0.1)):
            document["target_l0"] = self.rng.randint(1, width)
        wrong = self.spoil(document) if self.chance(0.1) else ""
        return Drawn(seed, document, self.star, topology, wrong, self.strayed, 1.0 if self.steps < 20 else 0.1)

    def topologies(self) -> list[tuple[str, Callable[[int], Document]]]:
        return [
            ("chain", lambda width: {"graph": self.chain(width)}),
            ("levels", lambda width: {"graph": self.chain(width, level=True)}),
            ("two encoders", self.two_encoders),
            ("sum of encoders", self.summed),
            ("two stages", self.two_stages),
            ("skip", self.skip),
            ("unrolled", self.unrolled),
            ("tied", lambda width: {"graph": self.chain(width, tied=True)}),
            ("two dictionaries", self.two_dictionaries),
            ("crosscoder", self.crosscoder),
        ]

    def chain(self, width: int, prefix: str = "", level: bool = False, tied: bool = False) -> Document:
        graph: Document = {}
        if self.chance(0.6) or self.star in self.kinds("op", _unary):
            self.put(graph, "first", self.pick("op", _unary), width, prefix)
        encoder = self.put(graph, "encoder", self.pick("encoder", _has(Signal.WEIGHT) if tied else _any), width, prefix)
        gate = self.put(graph, "gate", self.pick("gate"), width, prefix)
        deep = level or self.star in self.kinds("level") or self.chance(0.1)
        if deep and (prefix != "coarse." or self.chance(0.1)):  # a difference takes no levels
            self.put(graph, "level", self.pick("level"), width, prefix)
        decoder = self.put(graph, "decoder", self.pick("decoder"), width, prefix)
        if tied:
            self.tie(decoder, encoder)
        self.voices.append(Voice(gate, f"{prefix}encoder", [decoder]))
        return graph

    def tie(self, decoder: Part, encoder: Part) -> None:
        """Wires an optional port of a decoder to rows of an encoder; settings that rule that out are redrawn from the block's literals."""
        source = next((name for name, type in encoder.signals() if type is Signal.WEIGHT), None)
        ports = decoder.block.ports(decoder.spec)
        port = next((name for name, rule in ports.items() if rule.optional and Signal.WEIGHT in rule.types), None)
        if source is None or port is None:
            return
        before = next(label for label in ("level", "gate") if any(part.name == label for part in self.parts))
        decoder.entry["from"] = {next(iter(ports)): before, port: source}
        if self.chance(0.9):  # a decoder that keeps its rows may not be given others': the assembler says so
            decoder.entry["norm"] = "free"

    def two_encoders(self, width: int) -> Document:
        graph: Document = {}
        first = self.put(graph, "first", self.pick("op", _unary), width)
        self.put(graph, "opener", self.pick("encoder"), width)
        self.put(graph, "strength", self.pick("encoder"), width, source=first.name)
        gate = self.put(graph, "gate", self.pick("gate", _two_pre), width)
        ports = [name for name, rule in gate.block.ports(gate.spec).items() if rule.types == (Signal.PRE,)]
        gate.entry["from"] = dict(zip(ports, ["opener", "strength"]))
        decoder = self.put(graph, "decoder", self.pick("decoder"), width)
        self.voices.append(Voice(gate, "opener", [decoder]))
        return {"graph": graph}

    def summed(self, width: int) -> Document:
        graph: Document = {}
        self.put(graph, "shallow", self.pick("encoder"), width)
        self.put(graph, "deep", self.pick("encoder"), width, source="x")
        self.put(graph, "both", ADD, width, source=["shallow", "deep"])
        gate = self.put(graph, "gate", self.pick("gate"), width)
        decoder = self.put(graph, "decoder", self.pick("decoder"), width)
        self.voices.append(Voice(gate, "both", [decoder]))
        return {"graph": graph}

    def two_stages(self, width: int) -> Document:
        nested = self.pick("op", _nested)
        graph: Document = {"coarse": {"kind": nested, "width": 4, "graph": self.chain(4, "coarse.")}}
        self.used |= {nested, ADD, SUBTRACT}
        graph["rest"] = {"kind": SUBTRACT, "from": ["x", "coarse.reconstruction"]}
        graph["fine"] = {"kind": nested, "width": width, "graph": self.chain(width, "fine.")}
        if self.chance(0.3):
            graph["fine"]["from"] = {"signal": "rest", "detach": self.chance(0.5)}
        graph["output"] = {"kind": ADD, "from": ["coarse.reconstruction", "fine.reconstruction"]}
        return {"graph": graph}

    def skip(self, width: int) -> Document:
        graph = self.chain(width)
        self.put(graph, "skip", self.pick("op", _unary), width, source="x")
        self.put(graph, "output", self.pick("op", _joining), width, source=["decoder", "skip"])
        return {"graph": graph}

    def unrolled(self, width: int) -> Document:
        graph: Document = {}
        encoder = self.put(graph, "encoder", self.pick("encoder"), width)
        self.put(graph, "first_gate", self.pick("gate", _one_pre), width)
        rows = dict([("weight", name) for name, type in encoder.signals() if type is Signal.WEIGHT and self.chance(0.5)][:1])
        self.put(graph, "between", self.pick("op", _between), width, source={"pre": "encoder", **rows})
        gate = self.put(graph, "gate", self.pick("gate", _one_pre), width)
        decoder = self.put(graph, "decoder", self.pick("decoder"), width)
        self.voices.append(Voice(gate, "between", [decoder]))
        return {"graph": graph}

    def two_dictionaries(self, width: int) -> Document:
        graph: Document = {}
        for name in ("left", "right"):
            encoder = self.put(graph, f"{name}_encoder", self.pick("encoder"), width, source="x")
            gate = self.put(graph, f"{name}_gate", self.pick("gate"), width)
            decoder = self.put(graph, f"{name}_decoder", self.pick("decoder"), width)
            self.voices.append(Voice(gate, encoder.name, [decoder]))
        self.put(graph, "output", ADD, width, source=["left_decoder", "right_decoder"])
        return {"graph": graph}

    def crosscoder(self, width: int) -> Document:
        graph: Document = {}
        for hook in ("early", "late"):
            self.put(graph, f"from_{hook}", self.pick("encoder"), width, source=hook)
        self.put(graph, "both", ADD, width, source=["from_early", "from_late"])
        gate = self.put(graph, "gate", self.pick("gate"), width)
        decoders = [self.put(graph, f"to_{hook}", self.pick("decoder"), width, source="gate") for hook in ("early", "late")]
        self.voices.append(Voice(gate, "both", decoders))
        self.wire(gate, self.voices[0], "early", None, always=True, main="both")
        return {"inputs": ["early", "late"], "graph": graph, "outputs": {"early": "to_early", "late": "to_late"}}

    # Terms of the loss, and wires that need saying.

    def losses(self, width: int, inputs: list[str], outputs: Document | None) -> Document:
        found: Document = {}
        fits_error = _reads("output")
        labels = ["reconstruction"] if self.chance(0.3) or outputs else []
        labels += inputs[1:] + [f"term{i}" for i in range(self.rng.choice([0, 1, 1, 2, 3]))]
        if self.star in self.kinds("loss") and not any(label.startswith("term") for label in labels):
            labels.append("term")
        for label in labels:
            kind = self.pick("loss", _any if label.startswith("term") else fits_error)
            part = self.put(found, label, kind, width)
            self.parts.remove(part)  # nothing may read a loss
            self.terms.append(part)
            target = label if label in inputs else inputs[0]
            several = len(self.voices) > 1 or bool(outputs)
            self.wire(part, self.rng.choice(self.voices), target, outputs, always=several)
        return found

    def wire(self, part: Part, voice: Voice, target: str, outputs: Document | None, always: bool, main: str = "") -> None:
        """Says what the ports of a block read where that is not plain, and sometimes where it is."""
        wires: Document = {}
        ports = part.block.ports(part.spec)
        for index, (port, rule) in enumerate(ports.items()):
            signal = main if main and not index else self.source(rule, voice, target, outputs)
            if signal and (always or self.chance(0.1)):
                detached = {"signal": signal, "detach": self.chance(0.5)}
                wires[port] = detached if index and self.chance(0.3) else signal
        first = next(iter(ports))
        if part.block.slot == "loss" and first in wires and self.chance(0.5):
            part.entry["of"] = wires.pop(first)
        if wires:
            part.entry["from"] = wires

    def source(self, rule: Port, voice: Voice, target: str, outputs: Document | None) -> str | None:
        """Returns what a port reads by its default, of a given dictionary and target."""
        if rule.default in ("input", "target"):
            return target
        if rule.default == "output":
            return outputs[target] if outputs else None
        if rule.default in ("code", "pre"):
            return voice.gate.name if rule.default == "code" else voice.pre
        around = [voice.gate, *voice.decoders] if rule.default in ("dictionary", "active", "threshold") else []
        found = [name for part in around for name, type in part.signals() if type in rule.types]
        # A bias or dictionary among several is that of the target asked for.
        return next((name for name in found if name.startswith(f"to_{target}.")), found[0] if found else None)

    def steered(self) -> bool:
        return any(term.block.sparsity for term in self.terms)

    def pointed(self) -> bool:
        return all(Signal.WEIGHT in part.block.exposes.values() for part in self.parts if part.block.slot == "encoder")

    def stray(self) -> None:
        """Wires one port to any signal of a type it takes, wherever it stands: sense and sizes are the assembler's to check."""
        outside = [part for part in (*self.parts, *self.terms) if "." not in part.name]
        if not outside:
            return
        part = self.rng.choice(outside)
        port, rule = self.rng.choice(list(part.block.ports(part.spec).items()))
        found = [name for one in self.parts for name, type in one.signals() if type in rule.types]
        wires = part.entry.get("from", {})
        if found and not rule.many and isinstance(wires, dict) and "signal" not in wires and not part.entry.get("of"):
            part.entry["from"] = {**wires, port: {"signal": self.rng.choice(found), "detach": self.chance(0.3)}}
            self.strayed = True

    def lacking(self) -> bool:
        """Tells whether a term of the loss needs a type of signal that nothing here gives."""
        given = {type for part in self.parts for _, type in part.signals()} | {*SPACE}
        needed = [rule for term in self.terms for rule in term.block.ports(term.spec).values() if not rule.optional]
        return any(not given.intersection(rule.types) for rule in needed)

    def training(self, width: int) -> Document:
        found: Document = {"tokens": self.steps * BATCH + self.rng.choice([0, 0, 5]), "batch": BATCH, "seed": self.rng.randint(0, 9)}
        found |= {"clip_norm": self.rng.choice([None, 0.1, 1.0])} if self.chance(0.4) else {}
        found |= {"data_seed": self.rng.randint(0, 9)} if self.chance(0.3) else {}
        return found | self.singles(width, self.blocks.grammar.sae.model_fields["training"].annotation)

    def singles(self, width: int, model: Any) -> Document:
        """Draws the blocks that stand alone in fields of their own, some of the time."""
        found: Document = {}
        for name, kinds in single_blocks(model, self.blocks).items():
            default, settings = model.model_fields[name].default, Settings(self.rng, width, self.steps)
            short = default is not None and any(settings.over_at_once(key, value) for key, value in default)
            share = 1.0 if self.star in kinds else 0.95 if short else 0.3 if default is not None else 0.15
            suits = {"controller": self.steered(), "revival": self.pointed()}.get(name, True)
            if self.chance(share) and (suits or self.chance(0.1)):
                found[name] = self.entry(self.star if self.star in kinds else self.rng.choice(kinds), width)
        return found

    def spoil(self, document: Document) -> str:
        """Makes one thing illegal, in place; says what."""
        entry = self.rng.choice([part.entry for part in (*self.parts, *self.terms)])
        fields = self.blocks[entry["kind"]].Spec.model_fields
        bounded = [(name, low) for name, one in fields.items() if (low := bounds(one.metadata)[0]) is not None]
        numbers = [name for name, one in fields.items() if one.annotation in (int, float)]
        ways: list[tuple[str, Document]] = [("an unknown key", {"settting": 1}), ("an unknown kind", {"kind": "nothing_of_the_kind"})]
        ways += [("a signal nobody gives", {"from": "nowhere.code"}), ("an unknown port", {"from": {"prot": "x"}})]
        ways += [("a value out of range", {name: int(low) - 1}) for name, low in bounded[:1]]
        ways += [("a word for a number", {self.rng.choice(numbers): "three"})] if numbers else []
        ways += [("truth for a number", {self.rng.choice(numbers): True})] if numbers else []
        what, change = self.rng.choice(ways)
        entry.update(change)
        return what


def _any(block: type[Any]) -> bool:
    return True


def _nested(block: type[Any]) -> bool:
    return issubclass(block.Spec, NestedSpec)


def _unary(block: type[Any]) -> bool:
    """An op from the model's space to itself that reads one signal besides optional ones."""
    main, *others = block.inputs.values()
    return _in_space(block) and not main.many and not _nested(block) and all(port.optional for port in others)


def _joining(block: type[Any]) -> bool:
    """An op that makes one vector of the model's space of several."""
    main, *others = block.inputs.values()
    return _in_space(block) and main.many and all(port.optional for port in others)


def _in_space(block: type[Any]) -> bool:
    return Signal.ACTIVATION in next(iter(block.inputs.values())).types and next(iter(block.outputs.values())) in SPACE


def _two_pre(block: type[Any]) -> bool:
    return sum(port.types == (Signal.PRE,) for port in block.inputs.values()) > 1


def _one_pre(block: type[Any]) -> bool:
    return next(iter(block.inputs.values())).types == (Signal.PRE,)


def _between(block: type[Any]) -> bool:
    """An op that makes pre-activations of others and of a code."""
    return {(Signal.PRE,), (Signal.CODE,)} <= {port.types for port in block.inputs.values()} and Signal.PRE in block.outputs.values()


def _has(type: Signal) -> Callable[[Any], bool]:
    return lambda block: type in block.exposes.values()


def _reads(default: str) -> Callable[[Any], bool]:
    return lambda block: next(iter(block.inputs.values())).default == default
