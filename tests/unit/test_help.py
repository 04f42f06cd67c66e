"""`--help` of every command, as a terminal of 80 columns shows it: no sentence is cut, and no line is folded."""

from collections.abc import Iterator

import click
import pytest

from consumer.cli.app import app, main


def every_command(group: click.Group, *names: str) -> Iterator[tuple[str, ...]]:
    """The names that lead to each command, groups included."""
    yield names
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from every_command(command, *names, name)
        else:
            yield (*names, name)


COMMANDS = [" ".join(names) for names in every_command(app)]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str) -> str:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_no_line_is_wider_than_the_terminal(shown: str) -> None:
    assert [line for line in shown.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("command", [name for name in COMMANDS if name in ("", "quarantine", "checkpoint", "gaps")])
def test_each_command_of_a_list_has_its_whole_sentence(shown: str) -> None:
    entries: list[str] = []
    for line in shown.partition("Commands:\n")[2].splitlines():
        if line.startswith("   "):
            entries[-1] += f" {line.strip()}"
        else:
            entries.append(line)
    assert entries
    assert [entry for entry in entries if not entry.endswith(".") or entry.endswith("...")] == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("top --by score", "'score' is not one of 'totalScore', 'gamesPlayed'."),
        ("top --limit many", "'many' is not a whole number from 1 to 1000000000."),
        ("top --limit 0", "'0' is not a whole number from 1 to 1000000000."),
        ("audit-log --limit -1", "'-1' is not a whole number from 1 to 1000000000."),
        ("demo --games 1.5", "'1.5' is not a whole number from 1 to 1000000000."),
        ("audit-log --limit 9223372036854775808", "'9223372036854775808' is not a whole number from 1 to 1000000000."),
        ("top --limit " + "9" * 5000, f"'{'9' * 80}' is not a whole number from 1 to 1000000000."),
        ("status --every 1e11", "'1e11' is not a number of seconds from 1 to 1000000000."),
        ("status --every 0.5", "'0.5' is not a number of seconds from 1 to 1000000000."),
        ("status --behind-seconds nan", "'nan' is not a number of seconds from 0 to 1000000000."),
        ("status --headroom-seconds inf", "'inf' is not a number of seconds from 0 to 1000000000."),
    ],
)
def test_a_wrong_value_is_answered_without_words_of_the_library(
    arguments: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert sentence in shown
    for words in ("Value error", "range", "x>=", "ValueError", "islice"):
        assert words not in shown
