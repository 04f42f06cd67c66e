"""Credentials that expire within a minute, from an endpoint that now and then hangs, or gives something else.

Also the first ones expire soon: a worker that lives to the end of the run, as a soak's does, meets every fault.
"""

import random
import threading

from tests.support.processes.credential_source import CredentialEndpoint, credentials

_FAULT_SHARE = 0.03
"""Of each kind of fault. A start that meets one is refused, and tried again."""
_FAULTLESS_REQUESTS = 12
"""The first ones: all workers start, and the stream with them, while it has few shards."""
_HANGING_SECONDS = 10.0
_SECONDS = (4.0, 60.0)


class FaultyEndpoint(CredentialEndpoint):
    """Use it in a `with`; `heal` ends the faults. Not `faulty`: it is healed from the start.

    `faults` counts the requests that were not answered, or with something else than good credentials.
    """

    def __init__(self, source: random.Random, *, faulty: bool = True) -> None:
        super().__init__(seconds=3600.0)
        self.faults = 0
        self._random = source
        self._healed = threading.Event()
        if not faulty:
            self.heal()

    def __exit__(self, *exception: object) -> None:
        self.heal()
        super().__exit__(*exception)

    def heal(self) -> None:
        """From now on every request gets credentials that last."""
        self._healed.set()

    def reply(self) -> bytes:
        """See CredentialEndpoint."""
        if self._healed.is_set():
            return super().reply()
        self.requests += 1
        if self.requests <= _FAULTLESS_REQUESTS:
            return credentials("ROLE", _SECONDS[1]).encode()
        drawn = self._random.random() / _FAULT_SHARE
        self.faults += drawn < 3
        if drawn < 1:
            self._healed.wait(_HANGING_SECONDS)
        if drawn < 2:
            return b"[]"
        return credentials("ROLE", -60.0 if drawn < 3 else self._random.uniform(*_SECONDS)).encode()
