"""Cuts the finished SAEs of a study to the L0s of its points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.assembler.build import Assembly
from archsearch.assembler.parse import parse
from archsearch.assembler.points import calibrations
from archsearch.assembler.resolved import resolved
from archsearch.errors import InvalidInput
from archsearch.search.jobs import Setting, run_hash
from archsearch.search.records import APART, Point
from archsearch.spec.points import PointsSpec
from archsearch.training.events import cut
from archsearch.training.member import Member


@dataclass(frozen=True)
class Cutting:
    """Cuts trained SAEs to the points of a study; without any, it cuts none.

    `entries`: the calibration of each point, by its L0.
    """

    entries: Mapping[float, dict[str, Any]]
    setting: Setting

    @staticmethod
    def of(points: PointsSpec | None, setting: Setting) -> Cutting:
        """Returns what cuts to the points of a study.

        Raises:
            InvalidInput: its calibration cannot.
        """
        return Cutting(calibrations(points) if points is not None else {}, setting)

    def saes(self, member: Member, l0: float) -> Iterator[tuple[float, Assembly]]:
        """Yields each L0 that a finished member of that L0 can be cut to, with the SAE it is then.

        One with a calibration of its own is cut already. Left out is an L0 that paths past the codes use up, and one that the cut does not
        reach (a code of equal values goes all at once).
        """
        if member.assembly.calibration is not None:
            return
        for level, entry in self.entries.items():
            if not l0 > level * APART:  # NaN is none
                continue
            try:
                found, remark = cut(member.sae, parse({**resolved(member.assembly), "calibration": entry}), member.calibrate)
            except InvalidInput:
                continue
            if not remark:
                yield level, found

    def point(self, level: float, assembly: Assembly, measurements: dict[str, float]) -> Point:
        """Returns an SAE that was cut as a point of its trial."""
        return Point(float(level), resolved(assembly), run_hash(assembly.spec, assembly, self.setting), measurements)
