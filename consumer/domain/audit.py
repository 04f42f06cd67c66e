"""What a person did to the data: who, when, what, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trace:
    """One act. `at` is unix seconds, `act` a stable word (redrive, discard, ...), `target` what it was done to."""

    who: str
    at: float
    act: str
    target: str
    detail: Mapping[str, str] = field(default_factory=dict)
