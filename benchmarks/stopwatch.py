"""Where the time of a process goes: functions are wrapped wherever they were imported, and their seconds added up over all threads."""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from typing import Any


class Stopwatch:
    """Adds up the seconds of wrapped functions by name; a function called inside another of the same name counts once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()
        self._inside = threading.local()

    def wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Returns `call`, timed."""

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            running: set[str] = self._inside.__dict__.setdefault("names", set())
            if name in running:
                return call(*args, **kwargs)
            running.add(name)
            begun = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                running.discard(name)
                self.add(name, time.perf_counter() - begun)

        return timed

    def add(self, name: str, seconds: float) -> None:
        """Adds seconds to a name."""
        with self._lock:
            self.seconds[name] += seconds
            self.calls[name] += 1

    def function(self, name: str, call: Callable[..., Any]) -> None:
        """Times a function from here on, in every module of this project that has it by now."""
        timed, found = self.wrap(name, call), 0
        for module in [module for label, module in sys.modules.items() if label.startswith(("archsearch", "benchmarks"))]:
            for key, value in list(vars(module).items()):
                if value is call:
                    setattr(module, key, timed)
                    found += 1
        assert found, f"{call!r} is in no module"

    def method(self, name: str, owner: type, attribute: str) -> None:
        """Times a method from here on."""
        setattr(owner, attribute, self.wrap(name, getattr(owner, attribute)))

    def kinds(self) -> dict[str, float]:
        """Returns the seconds so far by name."""
        with self._lock:
            return {name: round(value, 3) for name, value in self.seconds.items()}
