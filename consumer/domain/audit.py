"""The audit trail: what operators did to the data."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One operator action, as the audit trail stores it.

    `who` is the operator's AWS identity, `at` unix seconds, `action` a stable word (redrive, discard, ...), `target`
    what the action was done to. `detail` says what came of it.
    """

    who: str
    at: float
    action: str
    target: str
    detail: Mapping[str, str] = field(default_factory=dict)
