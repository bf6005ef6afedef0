"""The sections of a page, in order; one that has nothing to say returns nothing and is left out, from the list of contents too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archsearch.reporting.ladder import ladder_words
from archsearch.reporting.live import counted, duration, rate
from archsearch.reporting.picture import note, number
from archsearch.reporting.report.data import Report
from archsearch.reporting.report.drawing import READING, svg
from archsearch.reporting.report.legend import confirm_legend, front_legend, learning_legend
from archsearch.reporting.report.markup import Html, commands, details, html_table, joined, tag
from archsearch.reporting.report.methods import methods, references, repeat_commands
from archsearch.reporting.report.tables import (
    confirm_tables,
    cost_table,
    environment_table,
    front_table,
    hash_table,
    remark_table,
    trials_table,
    worth_table,
)
from archsearch.reporting.report.verdict import told_sentences
from archsearch.spec.yaml import dump


@dataclass(frozen=True)
class Section:
    """One section: the name links lead to, its heading, and what makes its content from a report."""

    name: str
    title: str
    content: Callable[[Report], Html]


def front(report: Report) -> Html:
    """The front against the baselines, as a plot, a table of its members, and a table of every trial."""
    label = f"Plot: FVU against effective L0 of {counted(len(report.record.trials), 'trial')}. The tables below hold the same numbers."
    said = "Each point is an SAE; the line is the front. Hover for its spec, click (or a row below) for all of it."
    return joined(
        front_legend(report),
        plot("front", label, f"{said} {note(report.picture).capitalize()}."),
        html_table(front_table(report)),
        details(f"All {counted(len(report.record.trials), 'trial')}", html_table(trials_table(report))),
    )


def volume(report: Report) -> Html:
    """Hypervolume over the tokens trained on."""
    found = report.volume
    if not found.tokens:
        return Html()
    end = f"It ends at {found.reached[-1]:.4f} after {rate(found.tokens[-1])} tokens"
    against = f"; the baselines alone come to {found.baselines:.4f}" if found.baselines is not None else ""
    what = (
        "Hypervolume: the area between the front and FVU 1 over the band, in octaves of L0 times FVU (higher is better; most: "
        f"{number(math.log2(report.record.band[1] / report.record.band[0]))}). Trials in the order of the study; baselines come first."
    )
    return plot("volume", f"Plot: hypervolume over tokens trained. {end}{against}.", f"{what} {end}{against}.")


def worth(report: Report) -> Html:
    """What every choice of the space came to."""
    if not report.worth.choices:
        return Html()
    said = (
        f"For each option, FVU against {report.worth.reference}: the best trial's and the median trial's difference in percent (below zero "
        "is better), and in brackets the trials that stand behind them (of how many, where some lie beyond what they are held against). "
        "This is no causal claim: there is one seed a point, and the sampler chose where to try; an option tried more often has had more "
        "chances to be lucky."
    )
    return joined(tag("p", said), *[html_table(worth_table(report, choice)) for choice in report.worth.choices])


def architectures(report: Report) -> Html:
    """The architectures on the front, drawn."""
    if not report.architectures:
        return Html()
    figures = []
    for one in report.architectures:
        name = " / ".join(filter(None, one.families)) or "no gate"
        numbers = ", ".join(trial.label for trial in one.trials)
        who = f"{name}: {counted(len(one.trials), 'member')} of the front ({'trials' if len(one.trials) > 1 else 'trial'} {numbers})"
        picture = tag("div", Html(svg(one.diagram, f"Architecture: {name}")), class_="scroll drawing", tabindex="0", role="group")
        figures.append(tag("figure", picture, tag("figcaption", who)))
    said = f"{READING} A setting that differs among members is given as a range."
    return joined(tag("p", said), tag("div", *figures, class_="drawings"))


def learning(report: Report) -> Html:
    """Learning curves of the front and the baselines."""
    shown = [row.trial for row in report.front] + [trial.number for curve in report.curves.values() for trial in curve]
    if not any(report.by_number[number].history for number in shown):
        return Html()
    said = "The reconstruction term of the loss on training batches, of front members (solid) and the best of each baseline (dashed)."
    return joined(learning_legend(report), plot("learning", f"Plot: {said}", said))


def confirmed(report: Report) -> Html:
    """What the confirmation found, with a point for every seed."""
    told = report.confirmed
    if told is None:
        return Html()
    seeds = counted(len(told["seeds"]), "new seed")
    split = told.get("split", "test")
    said = f"Every SAE trained again with {seeds} and measured on {split} rows; a line for each seed. Baselines dashed."
    return joined(
        *map(html_table, confirm_tables(told)),
        confirm_legend(told),
        plot("confirm", f"Plot: {said} The table above holds the differences.", said),
        details("All of it in sentences", tag("ul", *[tag("li", sentence) for sentence in told_sentences(report)])),
    )


def ladder(report: Report) -> Html:
    """What stopping trials early saved, and whether it was right to."""
    return joined(*[tag("p", sentence) for sentence in ladder_words(report.record)])


def cost(report: Report) -> Html:
    """What the study cost."""
    whole = f"{duration(report.record.seconds)} of wall clock in all. FLOPs are an estimate: three forward passes for a training row."
    return joined(tag("p", whole), html_table(cost_table(report)))


def remarks(report: Report) -> Html:
    """Trials that failed or ended otherwise than asked."""
    table = remark_table(report)
    return html_table(table) if table.rows else Html()


def method(report: Report) -> Html:
    """How it was done, in words, and where its blocks come from."""
    listed = [tag("li", reference.text, " ", tag("a", reference.url, href=reference.url)) for reference in references(report)]
    return joined(*[tag("p", paragraph) for paragraph in methods(report)], tag("ul", *listed) if listed else "")


def repeat(report: Report) -> Html:
    """Commands, space, hashes and environment."""
    return joined(
        commands(*repeat_commands(report)),
        details("The space", tag("pre", dump(report.record.space), tabindex="0", aria_label="The space")),
        details("Hashes", html_table(hash_table(report))),
        details("Environment and data", html_table(environment_table(report))),
    )


SECTIONS: Sequence[Section] = (
    Section("front", "The front against the baselines", front),
    Section("hypervolume", "Hypervolume over tokens", volume),
    Section("choices", "What each choice was worth", worth),
    Section("architectures", "Architectures on the front", architectures),
    Section("learning", "Learning curves", learning),
    Section("confirmation", "Confirmation", confirmed),
    Section("ladder", "What the ladder saved", ladder),
    Section("cost", "Cost", cost),
    Section("remarks", "Failures and remarks", remarks),
    Section("method", "Method", method),
    Section("repeat", "How to repeat it", repeat),
)
"""Every section after the verdict, in order; a new one is a function and a line here (interpretability: between confirmation and cost)."""


def plot(name: str, label: str, caption: str) -> Html:
    """Returns the place of a plot that the script draws, with what it shows in words."""
    inner = tag("div", class_="plot", data_figure=name, role="img", aria_label=label)
    return tag("figure", inner, tag("figcaption", caption))
