"""Arguments of a contender's process in `benchmarks.search`."""

from __future__ import annotations

import argparse
from pathlib import Path


def arguments() -> argparse.Namespace:
    """Returns what the process was told: `seed`, `folder`, `begun` (when it was started, Unix time) and, for a study, `levels`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--begun", type=float, required=True)
    parser.add_argument("--levels", action="store_true")
    return parser.parse_args()
