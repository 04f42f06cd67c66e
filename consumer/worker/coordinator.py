"""The coordinator machine: look, load the ledger, plan, claim. It works no shard itself."""

from collections.abc import Mapping
from math import inf
from typing import Final

from consumer.domain.errors import Trouble
from consumer.domain.leases import Members, Pin, Shard, Vouch
from consumer.domain.membership import Observer
from consumer.domain.outcomes import Ledger
from consumer.domain.ports import Backoff
from consumer.worker import events
from consumer.worker.calls import (
    Beat,
    Bury,
    Claim,
    CompletePin,
    CoordinatorCall,
    FindOrigin,
    Leave,
    ListShards,
    Load,
    Look,
    PinStream,
    Plant,
    Probe,
    Reply,
)
from consumer.worker.claims import Claims
from consumer.worker.errand import Errand
from consumer.worker.holdings import Holdings, Work
from consumer.worker.identity import Identity
from consumer.worker.pinning import Pinning
from consumer.worker.pulse import Pulse

LOAD_INTERVAL_SECONDS: Final = 30.0
"""The ledger is read again this often even when nothing seems to have changed."""


class Coordinator:
    """`working` is the worker's own map of the shards it works now; the coordinator only reads it."""

    def __init__(
        self,
        identity: Identity,
        pinning: Pinning,
        lease_ttl_seconds: float,
        working: Mapping[Shard, Work],
        backoff: Backoff,
    ) -> None:
        self.identity = identity
        self.pinning = pinning
        self.pulse = Pulse(identity.owner, lease_ttl_seconds, backoff)
        self._ttl = lease_ttl_seconds
        self._claims = Claims(backoff)
        self._holdings = Holdings(identity.owner, identity.is_earlier_life, working, self._claims)
        self._backoff = backoff
        self._observer = Observer(lease_ttl_seconds)
        self._looking, self._stepping = Errand(at=inf), Errand()
        if pinning.asked:
            self.pulse.soon(0.0)
        self._draining = False
        self._changes_seen: int | None = None
        self._changes_before_load: int | None = None
        self._ledger_changes: int | None = None
        self._plan_after = inf
        self._known_dead: frozenset[str] = frozenset()
        self._outbox: list[CoordinatorCall] = []

    def ready(self, now: float) -> list[CoordinatorCall]:
        """The calls to start now; the caller owes a reply for each."""
        if self.pulse.left:
            return []
        calls: list[CoordinatorCall] = [*self.pulse.ready(now)]
        if self.pulse.joined and self._looking.ready(now):
            self._looking.send(now)
            calls.append(Look())
        if self._steps and self._stepping.ready(now):
            self._stepping.send(now)
            self._changes_before_load = self._changes_seen
            self._stepping.at = inf  # unless a rescan is asked for before the answer
            calls.append(Load() if self.pinning.complete else self.pinning.next_call())
        calls += self._outbox
        self._outbox.clear()
        return calls + self._claims.ready(now)

    def wake_at(self) -> float:
        """When to ask `ready` again if no reply comes before."""
        if self.pulse.left:
            return inf
        steps = self._stepping.wake_at if self._steps else inf
        looks = self._looking.wake_at if self.pulse.joined else inf
        return -inf if self._outbox else min(self.pulse.wake_at(), self._claims.wake_at(), steps, looks)

    @property
    def _steps(self) -> bool:
        """The first question comes before joining: a lease table that is not ours gets no mark of us."""
        if self._draining:
            return self.planned
        return self.pulse.joined or not self.pinning.asked

    def drain(self) -> None:
        """Claims nothing more; the ledger is read once more for what is in our name without our knowing."""
        self._draining = True
        self._stepping.at = 0.0

    @property
    def settled(self) -> bool:
        """Whether no claim is under way, and of a worker on its way out: whether nothing is left in its name."""
        reads = self._draining and self.planned and (self._stepping.flying or self._stepping.at < inf)
        return not self._claims.shards and not reads

    @property
    def planned(self) -> bool:
        """Whether the ledger has been read and planned once."""
        return self._holdings.planned

    @property
    def halted(self) -> frozenset[Shard]:
        """Shards whose row is missing."""
        return self._holdings.halted

    @property
    def ledger(self) -> Ledger:
        """The rows as last read."""
        return self._holdings.ledger

    @property
    def vouches(self) -> Mapping[str, Vouch]:
        """What the living members told last."""
        dead = self._observer.dead()
        return {owner: vouch for owner, vouch in self._observer.members.items() if owner not in dead}

    def leave(self, now: float) -> None:
        """The last thing: all leases are released."""
        self._looking.at = inf
        self.pulse.leave(now)

    def troubles(self) -> set[str]:
        """What has failed for a while."""
        mine = {errand.trouble for errand in (self._looking, self._stepping) if errand.trouble}
        return mine | self.pulse.troubles() | self._claims.troubles()

    def announce(self, now: float) -> None:
        """A lease was given back: bump the counter at once, so that the others look."""
        self.pulse.bump()
        self.pulse.soon(now)

    def rescan(self, now: float) -> None:
        """Read the ledger soon: something about it surprised a shard."""
        self._stepping.at = min(self._stepping.at, now)

    def take(self, call: CoordinatorCall, reply: Reply, now: float) -> list[events.Event]:
        """Learns what became of a call it named. Raises UnsafeRefused, see Pinning."""
        match call:
            case Beat() | Leave():
                told = self.pulse.take(call, reply, now)
                if any(isinstance(event, events.Joined) for event in told):
                    self._looking.at = self._stepping.at = now
                return told
            case Look():
                return self._take_look(reply, now)
            case Claim():
                return self._take_claim(call, reply, now)
            case Load() | FindOrigin() | ListShards() | Probe() | PinStream() | Plant() | CompletePin():
                return self._take_step(call, reply, now)
            case Bury():
                self._holdings.buried(call)
                return [] if isinstance(reply, Trouble) else [events.MemberBuried(call.owner)]

    def _take_look(self, reply: Reply, now: float) -> list[events.Event]:
        errand = self._looking
        errand.land()
        if isinstance(reply, Trouble):
            retry = errand.retry(Look(), reply, self._backoff, now)
            errand.at = min(errand.at, now + self._ttl / 8)
            return [retry]
        assert isinstance(reply, Members)
        errand.succeed(errand.sent_at + self._ttl / 8)
        self._changes_seen = reply.changes
        self._observer.see(reply, errand.sent_at, now)
        if self._draining:
            return []
        dead = self._observer.dead()
        told: list[events.Event] = []
        if errand.sent_at >= self._plan_after:
            self._plan_after = inf
            self._ledger_changes = self._changes_before_load  # later ones are not in the ledger as it was read
            self._known_dead = dead
            told, burials = self._holdings.decide(self._observer.members, dead)
            self._outbox += burials
            if self._holdings.left_over(dead):
                self.rescan(now + self._ttl / 2)
        news = reply.changes != self._ledger_changes or dead != self._known_dead
        if news and self.pinning.complete and not self._stepping.flying:
            self.rescan(now)
        return told

    def _take_step(self, call: CoordinatorCall, reply: Reply, now: float) -> list[events.Event]:
        errand = self._stepping
        errand.land()
        if isinstance(reply, Trouble):
            return [errand.retry(call, reply, self._backoff, now)]
        if not isinstance(reply, Ledger):
            assert isinstance(call, FindOrigin | ListShards | Probe | PinStream | Plant | CompletePin)
            errand.succeed(now)
            asked = self.pinning.asked
            told = self.pinning.take(call, reply)
            if self.pinning.asked and not asked:
                self.pulse.soon(now)
            return told
        errand.succeed(min(errand.at, inf if self._draining else now + LOAD_INTERVAL_SECONDS))
        self._plan_after = now  # members are in before their first claim, so a look from now on knows every owner
        self._looking.at = min(self._looking.at, now)
        told, surprising = self._holdings.read(reply)
        if self._draining:
            self._holdings.account()
        elif surprising:
            self.rescan(now)
        return told

    def _take_claim(self, call: Claim, reply: Reply, now: float) -> list[events.Event]:
        taken = self._claims.take(call, reply, now)
        if isinstance(taken, events.RetryScheduled):
            return [taken]
        if taken is None:
            self.rescan(now)
            return []
        if call.row.owner is not None:
            self.pulse.bump()
        return [events.LeaseClaimed(taken, call.row.owner)]

    def floor_of(self, shard: Shard) -> float | None:
        """The start position of the shard's stream, in unix seconds."""
        pins: list[Pin] = [pin for pin in self._holdings.ledger.pins if pin.stream_arn == shard.stream_arn]
        pin = pins[0] if pins else self.pinning.pin
        assert pin is not None
        return pin.floor
