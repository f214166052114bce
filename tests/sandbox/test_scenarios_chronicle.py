"""The chronicle: what is concluded from the guild's history and the site's writes."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.replay.checks import RoleRow, UserRow
from sandbox.replay.chronicle import (
    CROSSING,
    Chronicle,
    Findings,
    GuildChange,
    Key,
    Row,
    SiteWrite,
    agree,
    most_in,
    percentile,
)

NOON = datetime(2021, 1, 12, 12, tzinfo=UTC)
ADA = UserRow(id=1, name="ada", display_name="Ada", discriminator=0, roles=(7, 900), in_guild=True)
EVE = replace(ADA, id=2, name="eve")
GONE = replace(ADA, in_guild=False)
ROLE = RoleRow(id=7, name="Developers", colour=255, permissions=8, position=3)


def at(seconds: float) -> datetime:
    """Return a moment so long after noon."""
    return NOON + timedelta(seconds=seconds)


def user(id_: int = 1) -> Key:
    """Return a user's key."""
    return Key("user", id_)


def change(
    seconds: float, row: Row | None, *, key: Key | None = None, told: bool = True
) -> GuildChange:
    """Return what the guild had of somebody from a moment on."""
    return GuildChange(at=at(seconds), key=key or user(), row=row, told=told)


def write(seconds: float, row: Row | None, *, key: Key | None = None) -> SiteWrite:
    """Return what the site had of somebody from a moment on."""
    return SiteWrite(at=at(seconds), key=key or user(), row=row)


def named(nick: str) -> UserRow:
    """Return Ada under another name."""
    return replace(ADA, display_name=nick)


def concluded(
    *steps: GuildChange | SiteWrite,
    guild: tuple[Row, ...] = (ADA,),
    site: tuple[Row, ...] = (ADA,),
) -> Findings:
    """Return the findings of these steps, each side's in the order given."""
    chronicle = Chronicle(guild=guild, site=site)
    chronicle.add_changes(step for step in steps if isinstance(step, GuildChange))
    chronicle.add_writes(step for step in steps if isinstance(step, SiteWrite))
    return chronicle.findings()


@pytest.mark.parametrize(
    ("site", "guild", "agreed"),
    [
        (ADA, replace(ADA, roles=(900, 7)), True),
        (ADA, named("Countess"), False),
        (ADA, replace(ADA, roles=(900,)), False),
        (GONE, ADA, False),
        (GONE, None, True),
        (ADA, None, False),
        (None, None, True),
        (None, ADA, False),
        (ROLE, ROLE, True),
        (ROLE, replace(ROLE, colour=1), False),
        (ROLE, None, False),
    ],
)
def test_what_agrees(site: Row | None, guild: Row | None, *, agreed: bool) -> None:
    """Roles are a set, and of who is gone any row will do that says so."""
    assert agree(site=site, guild=guild) is agreed


def test_a_change_has_reached_the_site_once_its_row_is_there() -> None:
    """The latency is from the change to the first write that shows it; stale writes show none."""
    found = concluded(change(0, named("A")), write(0.1, ADA), write(0.7, named("A")))

    assert found == Findings(latencies_s=(0.7,), agreed_at=at(0.7))


def test_a_later_state_stands_for_the_earlier_ones() -> None:
    """Two changes brought by one write count each from their own moment."""
    found = concluded(change(0, named("A")), change(2, named("B")), write(3, named("B")))

    assert found == Findings(latencies_s=(1.0, 3.0), agreed_at=at(3))


def test_a_write_overtaken_by_a_change_still_brought_the_one_before() -> None:
    """What it was composed of was true once, and the newer change waits for its own write."""
    steps = (
        change(0, named("A")),
        change(1, named("B")),
        write(1.5, named("A")),
        write(4, named("B")),
    )

    assert concluded(*steps) == Findings(latencies_s=(1.5, 3.0), agreed_at=at(4))


def test_a_change_taken_back_before_it_was_sent_needs_no_write() -> None:
    """There and back: the site was right again when the guild was, and nothing is left to bring."""
    found = concluded(change(0, named("A")), change(2, ADA))

    assert found == Findings(latencies_s=(2.0,), agreed_at=at(2))


def test_untold_changes_have_no_latency_and_must_still_arrive() -> None:
    """Nobody could react to what the gateway did not tell; it counts for when both agree."""
    chronicle = Chronicle(guild=[ADA], site=[ADA])
    chronicle.add_changes([change(0, named("A"), told=False)])

    assert (chronicle.differing, chronicle.events, chronicle.users_changed) == (1, 0, 1)
    chronicle.add_writes([write(5, named("A"))])
    assert (chronicle.differing, chronicle.findings()) == (0, Findings(agreed_at=at(5)))


def test_a_change_that_never_arrives_is_counted() -> None:
    """It has no latency that could be averaged away."""
    found = concluded(change(0, named("A")), write(1, named("wrong")))

    assert found == Findings(unreached=1)


def test_joining_and_leaving_reach_the_site() -> None:
    """A row that appears, and one that says that its user is gone."""
    steps = (
        change(0, EVE, key=user(2)),
        write(1, EVE, key=user(2)),
        change(2, None),
        write(4, GONE),
    )

    assert concluded(*steps) == Findings(latencies_s=(1.0, 2.0), agreed_at=at(4))


def test_a_deleted_role_changes_whoever_held_it() -> None:
    """One event, but each holder's row and the role's own have to arrive."""
    bare = replace(ADA, roles=(900,))
    chronicle = Chronicle(guild=[ADA, replace(EVE, roles=(900,)), ROLE], site=[ADA, EVE, ROLE])
    chronicle.add_changes([change(0, None, key=Key("role", 7))])
    chronicle.add_writes([write(3, bare), write(5, None, key=Key("role", 7))])

    assert (chronicle.events, chronicle.differing) == (
        1,
        1,
    )  # Eve's row was wrong before, and still is
    assert chronicle.findings() == Findings(latencies_s=(3.0, 5.0), agreed_at=at(5))


def test_a_departure_of_somebody_who_is_there_is_named() -> None:
    """The guild had her all along: whatever made the writer think so, it was wrong."""
    found = concluded(write(1, GONE), write(2, ADA))

    assert found == Findings(departures_written_wrongly=(1,), agreed_at=at(2))


def test_writing_a_departed_row_again_departs_nobody() -> None:
    """Only the step from member to none counts: the row said so before."""
    found = concluded(write(1, GONE), site=(GONE,))

    assert found == Findings()


@pytest.mark.parametrize(("share", "wrong", "crossed"), [(0.9, (), 1), (1.0, (1,), 0)])
def test_a_departure_may_cross_a_return(share: float, wrong: tuple[int, ...], crossed: int) -> None:
    """Who came back a moment ago may be on the way; who has been back for long may not."""
    found = concluded(
        change(0, None), change(10, ADA), write(10 + share * CROSSING.total_seconds(), GONE)
    )

    assert (found.departures_written_wrongly, found.crossed) == (wrong, crossed)


def test_a_departure_of_somebody_who_left_is_right() -> None:
    """The change comes before a write of the same moment."""
    found = concluded(change(1, None), write(1, GONE))

    assert found == Findings(latencies_s=(0.0,), agreed_at=at(1))


def test_a_role_deleted_from_the_site_alone_is_named() -> None:
    """The guild has it."""
    found = concluded(write(1, None, key=Key("role", 7)), guild=(ROLE,), site=(ROLE,))

    assert found.roles_deleted_wrongly == (7,)


@pytest.mark.parametrize(
    ("values", "share", "value"),
    [
        ([], 0.5, None),
        ([1.0], 0.99, 1.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0, 3.0], 0.5, 2.0),
        ([float(n) for n in range(1, 101)], 0.99, 99.0),
        ([float(n) for n in range(1, 102)], 0.99, 100.0),
    ],
)
def test_percentiles_are_of_the_values_themselves(
    values: list[float], share: float, value: float | None
) -> None:
    """So large a share does not exceed it, and fewer exceed nothing smaller."""
    assert percentile(values, share) == value


def test_the_most_in_a_span_may_lie_anywhere() -> None:
    """A span holds its beginning and not its end, wherever it begins."""
    moments = [at(seconds) for seconds in (0.9, 0.0, 1.1, 1.2, 1.9, 5.0)]

    assert (most_in(moments, timedelta(seconds=1)), most_in([], timedelta(seconds=1))) == (3, 0)
