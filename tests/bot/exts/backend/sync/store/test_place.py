"""A lease whose holder was killed in this very place need not be waited for; any other must be."""

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.exts.backend.sync._errors import LeaseLostError
from bot.exts.backend.sync._ports import Store
from bot.exts.backend.sync._store import open_store
from bot.exts.backend.sync._store._place import Place
from tests.fakes.local_valkey import LocalValkey

Open = Callable[[Place], Store]


@pytest.fixture
async def another() -> AsyncIterator[Open]:
    """Return what makes stores on one server, each as another process would."""
    async with LocalValkey() as server:
        yield lambda place: open_store(server.url, guild_id=1, place=place)


def kill(place: Place) -> None:
    """Let the kernel take back what a process held that was killed."""
    assert place._lock is not None
    os.close(place._lock)
    place._lock = None


async def test_who_was_killed_here_is_followed_at_once(another: Open, tmp_path: Path) -> None:
    """With the next fencing token: nothing of it that is late is taken."""
    before, after = Place(tmp_path), Place(tmp_path)
    async with another(before) as first, another(after) as second:
        assert await first.acquire()
        alive = await second.acquire()
        kill(before)
        followed = await second.acquire()

        assert (alive, followed) == (False, True)
        await second.put({"a": 1})
        with pytest.raises(LeaseLostError):
            await first.put({"a": 2})
        assert await second.get("a") == 1


async def test_who_was_killed_elsewhere_is_waited_for(another: Open, tmp_path: Path) -> None:
    """Host names may be equal, but places are not."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    before, after = Place(tmp_path / "a"), Place(tmp_path / "b")
    async with another(before) as first, another(after) as second:
        assert await first.acquire()
        kill(before)

        assert not await second.acquire()
        assert "process" in (second.holder() or "")


async def test_two_that_live_exclude_each_other(another: Open, tmp_path: Path) -> None:
    """As long as both do, in one place or in two."""
    async with another(Place(tmp_path)) as first, another(Place(tmp_path)) as second:
        assert [await first.acquire(), await second.acquire()] == [True, False]
        await first.release()
        assert [await second.acquire(), await first.acquire()] == [True, False]


def test_a_lock_that_was_swept_away_proves_nothing(tmp_path: Path) -> None:
    """Somebody has emptied the directory while the process lives."""
    before, after = Place(tmp_path), Place(tmp_path)
    for path in tmp_path.rglob("*.lock"):
        path.unlink()

    assert not after.is_gone(before.token)


@pytest.mark.parametrize("token", ["", "@", "x", "../x@", "0123@elsewhere"])
def test_what_no_process_of_this_place_wrote_is_nobody(tmp_path: Path, token: str) -> None:
    """A version before this one wrote no place."""
    place = Place(tmp_path)

    assert not place.is_gone(token)
    assert not place.is_gone(f"../x@{place.token.partition('@')[2]}")


def test_a_place_that_others_can_write_to_is_none(tmp_path: Path) -> None:
    """They could take locks away, or lead them elsewhere; then the lease has to expire."""
    name = f"guild-sync-{os.getuid()}"
    (tmp_path / "open" / name).mkdir(parents=True)
    (tmp_path / "open" / name).chmod(0o777)
    (tmp_path / "led").mkdir()
    (tmp_path / "led" / name).symlink_to(tmp_path / "open" / name)

    for directory in (tmp_path / "open", tmp_path / "led", tmp_path / "missing"):
        place = Place(directory)
        assert "@" not in place.token
        assert not place.is_gone(Place(directory).token)


def test_what_was_left_long_ago_is_removed(tmp_path: Path) -> None:
    """Processes that were killed leave a file each."""
    old, late = Place(tmp_path), Place(tmp_path)
    kill(old)
    kill(late)
    of_old = next(tmp_path.rglob(f"{old.token.partition('@')[0]}.lock"))
    os.utime(of_old, (1, 1))
    now = Place(tmp_path)

    assert not of_old.exists()
    assert now.is_gone(late.token)


def test_a_place_is_left_without_a_trace(tmp_path: Path) -> None:
    """Whoever ends by itself has given the lease back, too."""
    place, other = Place(tmp_path), Place(tmp_path)
    token = place.token
    place.close()

    assert not other.is_gone(token)
    assert len(list(tmp_path.rglob("*.lock"))) == 1
