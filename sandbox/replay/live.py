"""What happens in a guild while the bot is there: a role deleted, a burst, a steady stream."""

from datetime import timedelta
from typing import Final

from sandbox.replay.checks import live_writes
from sandbox.replay.chronicle import most_in, percentile
from sandbox.replay.outcome import Outcome
from sandbox.replay.scene import scene
from sandbox.replay.screen import Screen
from sandbox.replay.world import SHARED_ROLE, World

_BURST_EVENTS: Final = 10_000
_BURST_S: Final = 5.0
_TENS: Final = 100
_A_MINUTE: Final = 60.0
# Events a second: (p99 of an event's way to the site in s, writes a second).
_WARM_UP: Final = timedelta(seconds=5)  # by then whoever paces itself knows the load
_BOUNDS: Final = {50: (0.5, 8), 500: (3.0, 2)}


async def role_deleted_live(world: World, *, members: int, screen: Screen) -> Outcome:
    """Delete the role that everybody holds while the bot is there: the incident's own trigger."""
    async with scene(world, screen, members=members) as on:
        await on.start_bot_in_step()
        on.begin(f"deleting the role {SHARED_ROLE!r}, which all members hold, under the bot's eyes")
        role = world.ids.shared_role
        await on.do([{"op": "delete_role", "id": role}])
        await on.agree()
        ended = await on.runs(2)
        if f"role *{SHARED_ROLE}* removed" not in ended[-1].text:
            on.faults.append(f"mod-log does not name the cause: {ended[-1].text}")
        slowest_s = max(on.chronicle.findings().latencies_s, default=0.0)
        if slowest_s > _A_MINUTE:
            on.faults.append(f"the last row was right only after {slowest_s:.0f} s")
        return await on.outcome(runs=len(ended))


async def burst(world: World, *, members: int, screen: Screen) -> Outcome:
    """Let 10,000 things happen within 5 s."""
    async with scene(world, screen, members=members) as on:
        await on.start_bot_in_step()
        on.begin(f"letting {_BURST_EVENTS:,} things happen in {_BURST_S:g} s")
        await on.do(on.crowd.bustle(_BURST_EVENTS), per_s=_BURST_EVENTS / _BURST_S)
        await on.agree()
        writes = sum(request.writes for request in on.requests())
        if writes >= _TENS:
            on.faults.append(f"{writes} writes were sent where tens should do")
        return await on.outcome(write_requests=writes)


async def steady(
    world: World, *, members: int, screen: Screen, events_per_s: int = 50, for_s: float = 30.0
) -> Outcome:
    """Let so many things happen a second, and measure how long each takes to the site."""
    async with scene(world, screen, members=members) as on:
        await on.start_bot_in_step()
        on.begin(f"letting {events_per_s} things happen a second, for {for_s:g} s")
        await on.do(on.crowd.bustle(round(events_per_s * for_s)), per_s=events_per_s)
        requests = on.requests()
        await on.agree()
        # Too many live changes at once are a run, which mod-log shows and which paces itself.
        live = live_writes(requests, await on.runs(1))
        later = [one.started_at for one in live if one.started_at >= on.began_at + _WARM_UP]
        most = most_in(later, timedelta(seconds=1))
        p99_s = percentile(on.chronicle.findings().latencies_s, 0.99)
        on.faults += over_bounds(events_per_s, p99_s=p99_s, writes_in_a_second=most)
        return await on.outcome(
            events_per_s=events_per_s,
            write_requests_per_s=round(sum(one.writes for one in requests) / for_s, 2),
            write_requests_in_a_second_most=most,
        )


def over_bounds(events_per_s: int, *, p99_s: float | None, writes_in_a_second: int) -> list[str]:
    """Say which bound is broken of those that hold for a load of at most so many events."""
    bounds = [bound for load, bound in _BOUNDS.items() if events_per_s <= load]
    if p99_s is None or not bounds:
        return []
    longest_s, most = bounds[0]
    faults = []
    if p99_s >= longest_s:
        faults.append(
            f"the p99 of an event's way to the site was {p99_s:.2f} s, not < {longest_s:g} s"
        )
    if writes_in_a_second > most:
        faults.append(f"{writes_in_a_second} writes were sent within a second, not {most} at most")
    return faults
