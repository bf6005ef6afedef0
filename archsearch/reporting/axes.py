"""Axes that pictures share."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from archsearch.reporting.picture import number, ticks


def l0_axis(axes: Axes, limits: tuple[float, float]) -> None:
    """Makes the x axis one of effective L0: powers of two in plain numbers."""
    axes.set_xscale("log", base=2)
    axes.set_xlim(*limits)
    axes.xaxis.set_major_locator(FixedLocator(ticks(limits)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    axes.set_xlabel("effective L0 (latents on per token)")
