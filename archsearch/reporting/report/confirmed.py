"""What `archsearch confirm` found of a study, as far as the report shows it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from archsearch.errors import StudyError

FORMAT = "archsearch-confirm-1"

FILE = Path("confirm") / "confirm.json"
"""Where it is, inside a study's folder."""

_NEEDED = {"bands": list, "contenders": list, "verdicts": list, "summary": list, "seeds": list}


def read_confirmed(folder: Path) -> dict[str, Any] | None:
    """Returns the content of a study's `confirm.json`, None where it has none.

    Raises:
        StudyError: the file is damaged, or of another format.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: must be JSON ({error}); run `archsearch confirm` again, or move the file away") from None
    told = found.get("format") if isinstance(found, dict) else None
    if told != FORMAT:
        raise StudyError(f"{path}: must be of format {FORMAT!r}; got {told!r}; run `archsearch confirm` again, or move the file away")
    wrong = [name for name, kind in _NEEDED.items() if not isinstance(found.get(name), kind)]
    if wrong:
        raise StudyError(f"{path}: must hold {', '.join(wrong)}; run `archsearch confirm` again, or move the file away")
    return found


def verdict_of(confirmed: dict[str, Any], candidate: str, band: list[float]) -> list[dict[str, Any]]:
    """Returns the verdicts on a candidate in a band, against every baseline it was held against."""
    return [v for v in confirmed["verdicts"] if v["candidate"] == candidate and list(v["band"]) == list(band)]


def candidates(confirmed: dict[str, Any]) -> list[str]:
    """Returns the names of those that were held against baselines, in the order of the file."""
    return [one["name"] for one in confirmed["contenders"] if not one.get("baseline")]


def seed_points(contender: dict[str, Any]) -> dict[int, list[tuple[float, float]]]:
    """Returns where a contender's SAEs came to stand, by seed and rising L0; those that failed are left out."""
    found: dict[int, list[tuple[float, float]]] = {}
    for row in contender.get("rows", []):
        l0, fvu = row.get("l0"), row.get("fvu")
        if not row.get("failure") and all(isinstance(v, (int, float)) and math.isfinite(v) and v > 0 for v in (l0, fvu)):
            found.setdefault(int(row["seed"]), []).append((float(l0), float(fvu)))
    return {seed: sorted(points) for seed, points in sorted(found.items())}
