"""The extension's own exceptions.

SyncError
├── SettingsError    a setting is missing or malformed (also a ValueError)
├── RunStoppedError  a run cannot go on, with the failure that stopped it
├── CancelledByPersonError  a person asked the run to stop
├── UnansweredError  Discord did not take an answer to a command or a button
└── StoreError       the state store can't be used as it is
    ├── StoreUnreachableError  it does not answer: what it holds is unknown
    └── LeaseLostError         a write was refused, for another process may hold the lease

What the site or Discord may do is no exception but an outcome; these unwind a run's phases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._core.model.redaction import without_credentials

if TYPE_CHECKING:
    from ._core.policy.request_backoff import Failure


class SyncError(Exception):
    """Everything that this extension raises on purpose."""


class SettingsError(SyncError, ValueError):
    """A setting is missing or malformed; the message is one line and names it."""


class RunStoppedError(SyncError):
    """A run cannot go on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind.value}: {failure.reason}")
        self.failure = failure


class CancelledByPersonError(SyncError):
    """A person asked for the run to stop, or the bot is being stopped."""


class UnansweredError(SyncError):
    """Discord did not take an answer: too late, not allowed, or it can't be reached."""


class StoreError(SyncError):
    """The state store can't be used as it is; the message is one line without secrets."""

    def __init__(self, message: str) -> None:
        super().__init__(without_credentials(message))


class StoreUnreachableError(StoreError):
    """The store does not answer; a write that met this may or may not have been kept."""


class LeaseLostError(StoreError):
    """The write was refused and nothing of it kept: this process does not hold the lease."""
