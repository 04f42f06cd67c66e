"""Which quarantined records an act is about, as parameters that are written once, and how far it came when it ends."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Final

import typer

from consumer.cli.choose import (
    CodeFilter,
    NumberArgument,
    PlayerFilter,
    ReasonFilter,
    ShardArgument,
    ShardFilter,
    SinceFilter,
    UntilFilter,
    addressed,
    chosen,
)
from consumer.cli.progress import watched
from consumer.domain.quarantine import Choice, Head
from consumer.settings import Settings

if TYPE_CHECKING:
    from consumer.operations.ward import Ward

_FILTERS: Final = ("shard", "player", "reason", "since", "until")


@dataclass(frozen=True)
class Target:
    """One record, by shard and sequence number, or else all that are chosen."""

    one: tuple[str, str] | None
    choice: Choice

    def heads(self, ward: "Ward", settings: Settings, act: str) -> list[Head]:
        """The records. Raises NotFound, and UnsafeRefused for one that cannot be `act` because it is not pending."""
        from consumer.operations.ward import require_pending

        if self.one is None:
            return ward.pick(self.choice, partial(watched, what=f"reading {settings.quarantine_table}"))
        head = ward.find(*self.one)
        require_pending(head, f"it cannot be {act}")
        return [head]


def with_target(reason: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Gives a command, which takes settings and a Target first, arguments and filters; `reason`: that filter's flag."""
    types = {
        "shard_name": ShardArgument,
        "sequence_number": NumberArgument,
        "shard": ShardFilter,
        "player": PlayerFilter,
        "reason": ReasonFilter if reason == "reason" else CodeFilter,
        "since": SinceFilter,
        "until": UntilFilter,
    }

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @wraps(command)
        def run(settings: Settings, **values: Any) -> int:
            name, number = values.pop("shard_name"), values.pop("sequence_number")
            filters = {each: values.pop(each) for each in _FILTERS}
            told = {reason if each == "reason" else each: value for each, value in filters.items()}
            return command(settings, Target(addressed(name, number, told), chosen(**filters)), **values)

        first, _, *own = inspect.signature(command).parameters.values()
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        added = [inspect.Parameter(name, kind, default=None, annotation=each) for name, each in types.items()]
        run.__signature__ = inspect.Signature([first, *added, *own])  # type: ignore[attr-defined]
        return run

    return decorate


@contextmanager
def telling_how_far(words: Callable[[], str]) -> Iterator[None]:
    """Says how far an act on many records came when it does not come to its end; Ctrl-C ends the command with 130."""
    ended = False
    try:
        yield
        ended = True
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    finally:
        if not ended:
            print(f"Stopped: {words()} not tried; run it again for the rest.", file=sys.stderr)
