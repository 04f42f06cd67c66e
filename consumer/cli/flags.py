"""Flags and arguments: those of the settings, made from the fields of Settings, and those that commands share."""

import inspect
from collections.abc import Callable, Collection
from functools import wraps
from textwrap import wrap
from typing import Annotated, Any, Final

import typer

from consumer.settings import Settings, flag, hint, load, variable

TABLES: Final = ("leaderboard_table", "lease_table", "quarantine_table")
RULES: Final = ("player_attribute", "score_attribute", "timestamp_attribute", "max_future_seconds")
LOGS: Final = ("log_level", "log_format")

HELP_COLUMNS: Final = 46
"""Width of the help beside the flags on a terminal of 80 columns."""

_ONLY: Final = "on stdout and nothing else."
JsonArray = Annotated[bool, typer.Option("--json", help=f"One JSON array {_ONLY}")]
JsonObject = Annotated[bool, typer.Option("--json", help=f"One JSON object {_ONLY}")]
JsonDocument = Annotated[bool, typer.Option("--json", help=f"One JSON document {_ONLY}")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask: for scripts.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what each player would get, and change nothing.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="NUMBER", help="How many are shown at most.")]
ShardArgument = Annotated[str, typer.Argument(metavar="SHARD", help="A shard's id, or LABEL/ID.", show_default=False)]


def with_settings(*names: str, needs: Collection[str] = ()) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Gives a command, which takes `settings` first and returns its exit code, the flags of the settings `names`.

    Without names: of all settings. The command's own parameters stay. A flag's value is text here, so that `load` can
    check all of them at once, together with the environment; other settings are not read. Logs are configured before
    the command begins, when their settings are among `names`.
    """
    shown = names or tuple(Settings.model_fields)

    def decorate(command: Callable[..., int]) -> Callable[..., None]:
        @wraps(command)
        def run(**values: Any) -> None:
            flags = {name: values.pop(name) for name in shown}
            given = {name: text for name, text in flags.items() if text is not None}
            settings = load(given, needs=needs, uses=shown)
            if "log_level" in shown:
                from consumer.telemetry.logs import configure

                configure(settings.log_level, settings.log_format)
            raise typer.Exit(command(settings, **values))

        own = list(inspect.signature(command).parameters.values())[1:]
        run.__signature__ = inspect.Signature([*own, *map(_option, shown)])  # type: ignore[attr-defined]
        return run

    return decorate


def _option(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    default = f"{field.default:g}" if isinstance(field.default, float) else field.default
    lines = [*wrap(str(field.description), HELP_COLUMNS), variable(name) + ("" if default is None else f"={default}")]
    option = typer.Option(
        None, flag(name), metavar=hint(name, "kind"), help="\b\n" + "\n".join(lines), show_default=False
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=str | None)
