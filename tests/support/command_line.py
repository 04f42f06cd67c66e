"""The commands of the command line, for tests of documents that name them."""

import click

from consumer.cli.app import app


def subcommands(command: click.Command = app) -> dict[str, click.Command]:
    """The commands of a group, by name; none for another command."""
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return {name: child for name, child in found.items() if child is not None}


def commands(command: click.Command = app, before: str = "") -> dict[str, click.Command]:
    """Every command that does something, by the words that call it."""
    found: dict[str, click.Command] = {}
    for name, child in subcommands(command).items():
        found |= commands(child, f"{before}{name} ") or {f"{before}{name}": child}
    return found
