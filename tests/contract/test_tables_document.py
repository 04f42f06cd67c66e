"""docs/tables.md lists the attributes that the code writes, with their types, for every kind of item; and no others.

The run makes each kind of write once, through the ports and the operators' services, and reads all items after each
step: an attribute that a later step removes is seen too.
"""

import random
import re
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import cache
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import click
import pytest

from consumer.aws.operator_writes import DynamoReplays
from consumer.aws.tables import LEADERBOARD_KEYS, LEASE_KEYS, QUARANTINE_KEYS
from consumer.domain.accepted_rules import Reading
from consumer.domain.breaker import HaltReason, Symptom
from consumer.domain.corrections import IndexRow, ItemWrite, KeptImage, RecordKey
from consumer.domain.cut import cut
from consumer.domain.fold import Delta, Limits, WindowSum
from consumer.domain.leases import TRIM_HORIZON, Adoption, Lease, LeaseRow, Shard, StreamStart, TableNames
from consumer.domain.marks import Mark, Route, RowWrite
from consumer.domain.membership import HeartbeatReport, LateShard
from consumer.domain.operator_ports import AcceptedMark
from consumer.domain.records import Corrections, Game, Image, ItemRecord, Poison, Reason, Rules, decode, item_of, poison
from consumer.domain.replay import LATEST, Mode
from consumer.domain.replies import Committed, Done, StreamListing
from consumer.domain.windows import Kind, WindowKind
from consumer.operations import accept_rules, adopt, checkpoint, gaps, resume
from consumer.operations.quarantine import Applied, Countable, Discarded, QuarantineService, Repair, Restored
from consumer.operations.replay import PendingReplay, Recount, ReplayService
from consumer.operations.replay_plan import ReplayRequest
from consumer.operations.resume import Resumed
from consumer.operations.steps import Step
from consumer.operations.waiting import Waiting
from consumer.retries import JitteredBackoff
from consumer.worker.calls import Operation
from tests.contract.dynamo_subject import DynamoSubject, Item
from tests.contract.operator_subject import operator_subject
from tests.support import builders
from tests.support.builders import CREATED, ME, OTHER, SYMPTOM, plain_rows, wire
from tests.support.command_line import subcommands
from tests.support.commands import finish

ROOT = Path(__file__).parents[2]
WRITERS = ("items", "board", "commits", "corrections", "leases", "operator_writes", "quarantine", "transact")
FEWEST_NAMES = 50
NO_ATTRIBUTES = {"worker"}
"""Found by the pattern, and names of something else: `#worker` stands for an attribute `worker#<owner>`."""

WINDOW = re.compile(r"^(day|week|month)_\w+_(games|score)$")
WHO = "foo@host"
LOST = "shardId-lost"
ITEM = {"playerId": {"S": "foo"}, "timestamp": {"S": "2026-01-31"}}

Attributes = dict[str, set[tuple[str, str]]]
"""Names and types of attributes, by kind of item; for audit rows by action and target."""

# --- the document ---

PLACES = {
    "label": r"[^/# ]+",
    "olderLabel": r"[^/# ]+",
    "shardId": r"[^/# ]+",
    "player": r".+",
    "table": r"[\w.-]+",
    "number": r"\d+",
    "part": r"\d+",
    "checkpoint": r"\d+|TRIM_HORIZON|SHARD_END",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "digest": r"[0-9a-f]{12}",
    "itemDigest": r"[0-9a-f]{64}",
    "streamArn": r"arn:.+/stream/.+",
}
"""What stands for each name in angle brackets, in the forms of keys and targets."""


@cache
def document() -> str:
    return (ROOT / "docs" / "tables.md").read_text()


def tables(heading: str) -> list[list[list[str]]]:
    """The tables between a heading and the next one, each as rows of cells, heads included."""
    _, found, after = document().partition(f"\n{heading}\n")
    assert found, heading
    lines = takewhile(lambda line: not line.startswith("#"), after.splitlines())
    made: list[list[list[str]]] = []
    before = ""
    for line in lines:
        if line.startswith("|"):
            if not before.startswith("|"):
                made.append([])
            made[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        before = line
    return made


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def pattern(form: str) -> re.Pattern[str]:
    parts = re.split(r"<(\w+)>", form)
    return re.compile("".join(f"(?:{PLACES[part]})" if odd % 2 else re.escape(part) for odd, part in enumerate(parts)))


def kinds() -> dict[str, tuple[str, dict[str, str]]]:
    """Table and key of each kind of item."""
    ((_, _, *rows),) = tables("## Keys")
    made = {}
    for kind, table, key, _ in rows:
        names = code(key)
        made[kind] = (code(table)[0], dict(zip(names[::2], names[1::2], strict=True)))
    return made


def actions() -> dict[tuple[str, str], set[str]]:
    """The details of audit rows, by action and form of the target."""
    _, (_, _, *rows) = tables("### Audit row")
    return {(code(action)[0], code(target)[0]): set(code(details)) for action, target, details, _ in rows}


def typed(row: list[str]) -> list[tuple[str, str]]:
    """Names and types of a row: one type for all, or one for each."""
    names, types = code(row[0]), row[1].split(", ")
    return list(zip(names, types * len(names) if len(types) == 1 else types, strict=True))


def listed() -> Attributes:
    """What the document lists."""
    made: Attributes = {}
    for kind, (_, key) in kinds().items():
        (_, _, *rows), *_ = tables(f"### {kind}")
        made[kind] = {pair for row in rows for pair in typed(row)} | {(name, "S") for name in key}
    common = made.pop("Audit row")
    for (action, target), details in actions().items():
        made[f"{action} of {target}"] = common | {(name, "S") for name in details}
    return made


# --- the items ---


def kind_of(table: str, item: Item) -> str:
    """The one kind that the item's key has the form of."""
    found = [
        kind
        for kind, (name, key) in kinds().items()
        if name == table and all(pattern(form).fullmatch(item[part]["S"]) for part, form in key.items())
    ]
    assert len(found) == 1, (found, item)
    if found != ["Audit row"]:
        return found[0]
    action, target = item["act"]["S"], item["target"]["S"]
    (form,) = [form for name, form in actions() if name == action and pattern(form).fullmatch(target)]
    return f"{action} of {form}"


def attributes(item: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Names and types, those inside of maps too."""
    for name, value in item.items():
        name = before + re.sub(r"^worker#.+", "worker#<owner>", name)
        name = WINDOW.sub(lambda found: f"{found[1]}_<{'date' if found[1] == 'day' else found[1]}>_{found[2]}", name)
        name = re.sub(r"windows\.(day|week|month)", "windows.<kind>", name)
        ((tag, inner),) = value.items()
        if tag == "L":
            (of,) = {kind for element in inner for kind in element} or {"S"}
            for element in inner if of == "M" else ():
                yield from attributes(element["M"], f"{name}.")
            tag = f"L of {of}"
        yield name, tag
        if tag == "M" and name != "itemKey":  # its attributes are those of the source's key
            yield from attributes(inner, f"{name}.")


def add(seen: Attributes, subject: DynamoSubject) -> None:
    """Adds what the tables hold now."""
    for default, table in zip(TableNames(), subject.names, strict=True):
        for item in subject.items(table):
            seen[kind_of(default, item)].update(attributes(item))


# --- the run ---


def older_stream(shard: Shard) -> str:
    return shard.stream_arn.replace(shard.label, "2026-01-01T00:00:00.000")


def children(shard: Shard) -> tuple[Shard, Shard]:
    return Shard(shard.stream_arn, "shardId-child"), Shard(shard.stream_arn, "shardId-late")


RULES = Rules(windows=((WindowKind.DAY, 2),), corrections=Corrections.APPLY)
READING = Reading(1, {WindowKind.DAY: Kind(2, CREATED)})


def workers_start(subject: DynamoSubject, shard: Shard) -> Iterator[None]:
    """A second stream with its root shards; a worker joins, another one joins and leaves."""
    ledgers, arn, older = subject.ledgers, shard.stream_arn, older_stream(shard)
    assert ledgers.record_stream_start(StreamStart(older, None, (), complete=True), None, CREATED, RULES) == Done()
    start = StreamStart(arn, CREATED, (shard.shard_id, LOST), complete=False)
    assert ledgers.record_stream_start(start, older, CREATED) == Done()
    roots = tuple(LeaseRow(Shard(arn, root), None, 7, TRIM_HORIZON, created=CREATED) for root in start.roots)
    assert ledgers.create_root_rows(arn, roots) == Done()
    yield
    assert ledgers.complete_stream_start(arn) == Done()
    for owner in (ME, OTHER):
        report = HeartbeatReport(1, 2, 1, 0.5, CREATED, late=(LateShard("0af315c2", 0.5),), rules=1)
        assert subject.membership.send_heartbeat(owner, report, joining=True, bump=True) == Done()
    yield
    assert subject.membership.leave(OTHER) == Done()


def known_row(subject: DynamoSubject, shard: Shard) -> LeaseRow:
    row = subject.row(shard)
    assert row is not None
    return row


def claim(subject: DynamoSubject, shard: Shard) -> Lease:
    row = known_row(subject, shard)
    lease = Lease(shard, ME, row.epoch + 1)
    assert isinstance(subject.ledgers.claim(row, lease, READING), LeaseRow)
    return lease


def worker_commits(subject: DynamoSubject, shard: Shard) -> Iterator[None]:
    """A gap, games and poison, a halt, and a resume that lets records pass."""
    lease = claim(subject, shard)
    assert subject.commits.record_gap(shard, TRIM_HORIZON, CREATED, lease) is True
    yield
    scores = ({"N": "150"}, {"S": "many"}, {"S": "few"}, {"N": "0.5"})
    subject.write([{**ITEM, "gameId": {"S": str(number)}, "score": score} for number, score in enumerate(scores)])
    wires = subject.streams.read(subject.streams.open(shard, TRIM_HORIZON), len(scores)).records
    entries = [decode(wire, Rules(), None) for wire in wires]
    assert [type(entry) for entry in entries] == [Game, Poison, Poison, Game]
    entries[3] = poison(wires[3], Reason.TOTAL_OVERFLOW, "no cause is left", Rules())
    unit = cut(entries, TRIM_HORIZON, Limits(), CREATED)
    assert subject.commits.commit(lease, unit, plain_rows(unit), fills_gap=True) == Committed()
    mark = Mark(str(shard), unit.last, CREATED)
    windows = (WindowSum(each, 1, Decimal(1)) for each in ("day_20260131", "month_202601", "week_2026W05"))
    alone = RowWrite("bar", Delta(1, Decimal(1), "2026-01-31", tuple(windows)), Route.INSERT, None, mark)
    assert subject.write_row(alone) == Done()
    operator = operator_subject(subject)
    for gap in operator.reader.gaps():
        finish(gaps.acknowledge(gap, operator.gaps, "no game then", WHO, CREATED, "token"))
    yield
    assert subject.commits.halt(lease, unit.last, 0, CREATED, SYMPTOM) == Done()
    yield
    subject.write([{**ITEM, "gameId": {"S": "later"}, "score": {"N": "1"}}])
    waiting = Waiting(known_row(subject, shard), Rules())
    finish(waiting.read_on(subject.streams), at_the_end)
    done = finish(resume.resume(waiting.row, subject.circuits, WHO, CREATED, "token", free_to=waiting.newest))
    assert isinstance(done, Resumed)
    assert done.free_to is not None
    yield


def items_are_corrected(subject: DynamoSubject, shard: Shard) -> Iterator[None]:
    """A bad record of an item of which a game is counted; the item expires. Another bad one, which is superseded."""
    lease, at = claim(subject, shard), known_row(subject, shard).checkpoint
    commits, counted = subject.commits_port(3650), Image("foo", Decimal(1), ("2026-01-31", CREATED))
    for position, item in enumerate(("expires", "is mended")):
        about = ItemRecord(item_of({"gameId": {"S": item}}))
        bad = builders.poison(position * 2 + 1)._replace(about=about)
        record = RecordKey(shard.shard_id, bad.sequence_number)
        row = IndexRow(about.item, record, counted)
        first = replace(cut([bad], at, Limits(), CREATED), items=(ItemWrite(about.item, None, row),))
        assert commits.commit(lease, first, (), fills_gap=False) == Committed()
        yield
        found = commits.read_items([about.item])[about.item]
        last = ItemWrite(about.item, found, None, kept=KeptImage(record, counted))
        if position:
            last = ItemWrite(about.item, found, None, supersedes=True)
        then = replace(cut([builders.ignored(position * 2 + 2)], first.last, Limits(), CREATED), items=(last,))
        assert commits.commit(lease, then, (), fills_gap=False) == Committed()
        at = then.last
        yield


def a_mark_is_accepted(subject: DynamoSubject, shard: Shard) -> Iterator[None]:
    """A shard halts for the mark of a row, and an operator takes the mark off."""
    lease, row = claim(subject, shard), known_row(subject, shard)
    mark = Mark("2025-01-01T00:00:00.000/shardId-gone", "1" * 21, CREATED)
    write = RowWrite("marked", Delta(1, Decimal(1), "2026-01-31"), Route.INSERT, mark=mark)
    assert subject.write_row(write) == Done()
    symptom = Symptom(HaltReason.MARK_UNKNOWN, "the row has a mark", "1" * 21, "marked")
    assert subject.commits.halt(lease, row.checkpoint, row.circuit.resumes, CREATED, symptom) == Done()
    yield
    halted, accepted = known_row(subject, shard), AcceptedMark("marked", mark)
    command = resume.resume(halted, subject.circuits, WHO, CREATED, "again", accepted=accepted)
    assert isinstance(finish(command), Resumed)
    yield


def at_the_end(step: Step) -> object:
    """Makes a call. The server's clock is late, so that each record was created before."""
    reply = step.effect()
    return replace(reply, served_at=reply.served_at + 60) if isinstance(reply, StreamListing) else reply


def operators_resolve(subject: DynamoSubject, shard: Shard) -> Iterator[None]:
    """A redrive and a discard, with a retention; then replays: of what is pending, and twice of everything."""
    tokens = map(str, count())
    service = QuarantineService(
        subject.quarantine_port(3650),
        subject.commits,
        tuple,
        lambda: WHO,
        lambda: CREATED,
        lambda: next(tokens),
        Rules(),
    )
    yield
    first, second, _ = sorted(subject.quarantine.entries(), key=lambda entry: entry.order)
    repair = Repair({"player": "foo", "score": "12", "timestamp": "2026-01-31"}, only_wrong=False)
    (counted,) = finish(service.decode([first], repair))
    assert isinstance(counted, Countable)
    assert [type(each) for each in finish(service.count([counted], command="one"))] == [Applied]
    assert finish(service.discard([second], "no game", "two")) == [Discarded(second)]
    (discarded,) = (entry for entry in subject.quarantine.entries() if entry.state == "discarded")
    assert finish(service.restore([discarded], "three")) == [Restored(discarded)]
    assert finish(service.discard([second], "no game", "four")) == [Discarded(second)]
    yield
    client, names, stop = subject.clients.dynamodb, subject.names, threading.Event()
    replays = DynamoReplays(client, names, stop)
    replays_of = ReplayService(
        service,
        lambda _: subject.streams,
        replays,
        subject.commits,
        subject.ledgers.load,
        lambda stream_arn: subject.ledgers.read_origin(stream_arn).binding,
        JitteredBackoff(random.Random(0)),
    )
    for mode in (Mode.PENDING, Mode.RECOUNT, Mode.RECOUNT):
        request = ReplayRequest(str(shard), TRIM_HORIZON, LATEST, mode, names.leaderboard, again=True)
        ((planned,), _) = finish(replays_of.plan(request))
        replay = (
            PendingReplay(replays_of, planned, finish(replays_of.pending(planned)))
            if mode is Mode.PENDING
            else Recount(replays_of, planned, finish(replays_of.open_reader(planned)))
        )
        finish(replay.run())
        assert replay.finished
        yield


def operators_change_tables(subject: DynamoSubject, shard: Shard) -> Iterator[None]:
    """Other rules; checkpoints of a row and of a lost row; a binding without its stream's row, and the reverse."""
    operator, lost = operator_subject(subject), Shard(shard.stream_arn, LOST)
    acceptance = accept_rules.plan(subject.ledgers.load(), replace(RULES, windows=((WindowKind.DAY, 3),)), None)
    assert isinstance(acceptance, accept_rules.Acceptance)
    finish(accept_rules.carry_out(acceptance, operator.rule_list, WHO, CREATED))
    subject.delete_row(lost)
    for name in (shard, lost):
        change = checkpoint.plan(subject.ledgers.load(), str(name), TRIM_HORIZON, CREATED)
        lease_admin = operator.lease_admin
        finish(checkpoint.carry_out(change, lease_admin, 5, lambda _: None, lambda: WHO, lambda: CREATED))
        yield
    subject.delete_binding(shard.stream_arn)
    subject.delete_stream_start(older_stream(shard))
    starts = subject.ledgers.load().stream_starts
    changes = adopt.binding_changes(operator.reader.bindings(), starts, subject.names)
    assert [change.after is None for change in changes] == [True, False]
    finish(adopt.carry_out(operator.bindings, changes, WHO, CREATED))


def shard_ends(subject: DynamoSubject, shard: Shard) -> Iterator[None]:
    """A child's row with its parent's end, a child that is found late; then the finished row is deleted."""
    lease = claim(subject, shard)
    child, late = (LeaseRow(name, ME, 7, TRIM_HORIZON, shard.shard_id, created=CREATED) for name in children(shard))
    assert subject.commits.end(lease, TRIM_HORIZON, (child.shard.shard_id,), (child,)) == Committed()
    assert subject.ledgers.adopt(Adoption(known_row(subject, shard), (late,))) == Done()
    assert subject.ledgers.mark_unlisted(known_row(subject, shard), CREATED) == Done()
    yield
    (start,) = subject.ledgers.load().stream_starts
    assert subject.ledgers.forget(known_row(subject, shard), start) == Done()


def everything(subject: DynamoSubject) -> Iterator[None]:
    """Each kind of write, step by step."""
    shard = subject.make_source()
    for part in (
        workers_start,
        worker_commits,
        a_mark_is_accepted,
        operators_resolve,
        items_are_corrected,
        operators_change_tables,
        shard_ends,
    ):
        yield from part(subject, shard)
    yield


# --- the tests ---


@pytest.mark.parametrize("dynamo", ["ministack"], indirect=True)
def test_the_document_lists_the_attributes_that_are_written(dynamo: DynamoSubject) -> None:
    seen: Attributes = defaultdict(set)
    for _ in everything(dynamo):
        add(seen, dynamo)
    assert seen.keys() == listed().keys()
    differences = {kind: (seen[kind] - names, names - seen[kind]) for kind, names in listed().items()}
    assert differences == dict.fromkeys(differences, (set(), set())), "written and not listed, listed and not written"


def test_the_document_lists_every_attribute_that_the_code_names() -> None:
    """Also one that only a rare write has, which the run above may not make."""
    tag = r"(?:S|N|B|L|M|BOOL)"
    named = set()
    for module in WRITERS:
        text = (ROOT / "consumer" / "aws" / f"{module}.py").read_text()
        named |= set(re.findall(rf'"(\w+)": (?:number\(|seconds\(|strings\(|{{"{tag}":)', text))
        named |= set(re.findall(rf'"(\w+)"(?:\]|, {{}}\))(?:\["{tag}"\]|\.get\("{tag}")', text))
        named |= set(re.findall(r'(?:text|_float)\(\w+(?: or {})?, "(\w+)"', text))
        named |= set(re.findall(r"(?<!\.)\b(\w+) (?:<?=) (?::\w|if_not_exists)", text))
        named |= {name for names in re.findall(r"REMOVE (\w+(?:, \w+)*)", text) for name in names.split(", ")}
    known = {part for names in listed().values() for name, _ in names for part in name.split(".")}
    assert len(named) > FEWEST_NAMES
    assert named - known == NO_ATTRIBUTES


def test_a_key_has_the_form_of_one_kind() -> None:
    number = "1" * 21
    for key, kind in {
        ("#gap", "2026-01-31T12:00:00.000/shardId-1/TRIM_HORIZON"): "Shard gap",
        ("#gap", "2026-01-31T12:00:00.000/2026-01-01T12:00:00.000"): "Stream gap",
        ("shardId-1", number): "Head row",
        ("shardId-1", f"{number}#1"): "Part row",
    }.items():
        item = dict(zip(("shardId", "sequenceNumber"), ({"S": part} for part in key), strict=True))
        assert kind_of(TableNames().quarantine, item) == kind


def test_the_tables_and_their_keys_are_those_that_init_creates() -> None:
    created = dict(zip(TableNames(), (LEASE_KEYS, LEADERBOARD_KEYS, QUARANTINE_KEYS), strict=True))
    assert {table for table, _ in kinds().values()} == created.keys()
    for table, key in kinds().values():
        assert tuple((name, "S") for name in key) == created[table]


def test_the_attributes_of_the_source_are_those_that_a_game_needs() -> None:
    (_, _, *rows), *_ = tables("## The source table")
    rules = Rules()
    names = {code(name)[0]: kind for name, kind, _ in rows}
    assert names.keys() == {rules.player_attribute, rules.score_attribute, rules.timestamp_attribute}
    values = {"playerId": "foo", "score": "150", "timestamp": "2026-01-31"}
    image = {name: {kind: values[name]} for name, kind in names.items()}
    assert isinstance(decode(wire(image=image), rules, None), Game)
    for name in names:
        without = {other: value for other, value in image.items() if other != name}
        for bad, reason in ((without, "_missing"), ({**image, name: {"BOOL": True}}, "_type")):
            entry = decode(wire(image=bad), rules, None)
            assert isinstance(entry, Poison)
            assert entry.reason.value.endswith(reason)


def test_every_reason_is_listed() -> None:
    _, (_, _, *rows) = tables("### Head row")
    assert sorted(name for row in rows for name in code(row[0])) == sorted(reason.value for reason in Reason)


def test_what_writes_and_removes_an_attribute_exists() -> None:
    operations = {operation.value for operation in Operation}
    for kind in kinds():
        (_, _, *rows), *_ = tables(f"### {kind}")
        for name, _, _, writers, removers in rows:
            assert writers, name
            for writer in code(writers + removers):
                assert writer in operations or is_command(writer), f"{kind}: {writer}"


def is_command(line: str) -> bool:
    group = subcommands()
    command: click.Command | None = None
    program, *words = line.split()
    for word in words:
        if word.startswith("--"):
            return command is not None and any(word in parameter.opts for parameter in command.params)
        command = group.get(word)
        group = subcommands(command) if command is not None else {}
    return program == "consumer" and command is not None
