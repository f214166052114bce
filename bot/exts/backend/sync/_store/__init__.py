"""The durable store's two adapters: an SQLite file, and Redis or Valkey."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._clock import SystemClock
from .._errors import SettingsError
from ._place import Place
from ._redis import RedisStore
from ._sqlite import SqliteStore, what_is_wrong

if TYPE_CHECKING:
    from .._ports import Clock, Store

_FILE = "sqlite:///"


def open_store(
    url: str,
    *,
    guild_id: int,
    lease_s: float = 90.0,
    clock: Clock | None = None,
    place: Place | None = None,
) -> Store:
    """Return the store that a URL names, not yet opened.

    `sqlite:///relative/path` and `sqlite:////absolute/path` are files; `redis://` and `rediss://`
    are servers. `lease_s` is the length of a server's lease and must exceed the site's deadline
    well, for nothing is sent with less than that left. `place` tells whether its holder was killed
    where this process runs. Raises `SettingsError`.
    """
    clock = clock or SystemClock()
    if url.startswith(_FILE):
        path = url.removeprefix(_FILE)
        if not path or path.endswith("/"):
            raise SettingsError("SYNC_STATE_URL names no file after sqlite:///")
        where = Path(path).absolute()
        if (fault := what_is_wrong(where)) is not None:
            raise SettingsError(f"SYNC_STATE_URL names {where}: {fault}")
        return SqliteStore(where, guild_id=guild_id, clock=clock)
    try:
        scheme = urlsplit(url).scheme
        if scheme in {"redis", "rediss"}:
            return RedisStore(
                url, guild_id=guild_id, lease_s=lease_s, clock=clock, place=place or Place()
            )
    except (ValueError, TypeError):  # a port or an option that redis-py can't read
        raise SettingsError("SYNC_STATE_URL is malformed") from None
    raise SettingsError("SYNC_STATE_URL must begin with sqlite:///, redis:// or rediss://")
