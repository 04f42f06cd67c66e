"""Credentials that expire within a minute, from an endpoint that now and then hangs, or gives something else."""

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
    """Use it in a `with`; `heal` ends the faults."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(seconds=3600.0)
        self._random = source
        self._healed = threading.Event()

    def __exit__(self, *exception: object) -> None:
        self.heal()
        super().__exit__(*exception)

    def heal(self) -> None:
        """From now on every request gets credentials that last."""
        self._healed.set()

    def reply(self) -> bytes:
        """See CredentialEndpoint."""
        if self._healed.is_set() or self.requests < _FAULTLESS_REQUESTS:
            return super().reply()
        drawn = self._random.random() / _FAULT_SHARE
        if drawn < 1:
            self._healed.wait(_HANGING_SECONDS)
        if drawn < 2:
            return b"[]"
        return credentials("ROLE", -60.0 if drawn < 3 else self._random.uniform(*_SECONDS)).encode()
