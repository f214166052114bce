"""What is answered to whoever asks or orders something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .notice import Notice, Tone

if TYPE_CHECKING:
    from .listing import File


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer; `done` says that an order was carried out, which is for everybody to see."""

    notice: Notice
    done: bool = False
    file: File | None = None


def said(text: str, *, done: bool = False) -> Reply:
    """Return an answer of a sentence."""
    return Reply(notice=Notice(title="Sync", description=text, tone=Tone.RUNNING), done=done)
