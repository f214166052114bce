"""The control API from Python: one plain method per thing that can be done or seen.

Ids are numbers everywhere. A member is the dict of `{"id", "name", "global_name", "nick", "roles",
"discriminator", "bot"}`, all but the first two optional on input; `roles` leaves @everyone out.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Self

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

Json = dict[str, Any]


class ControlError(Exception):
    """This Discord refused a control call; the text says why."""


class DiscordControl:
    """A connection to the control API of the sandbox's Discord at `url`, like http://127.0.0.1:80.

    Every method raises ControlError for bad input and for ids that are not there, and
    aiohttp.ClientError if the server is away. Close it, or use it as a context manager.
    """

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._http = aiohttp.ClientSession(timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    async def _call(self, method: str, path: str, **body: Any) -> Any:
        # As a file: aiohttp warns of bytes of more than 1 MiB, which many operations have.
        content = io.BytesIO(json.dumps(body).encode()) if body else None
        url = f"{self._url}/control/{path}"
        async with self._http.request(method, url, data=content) as response:
            await _raise_for_refusal(response)
            return await response.json()

    # -- guilds and their members -----------------------------------------------------------------

    async def create_guild(
        self,
        guild_id: int,
        *,
        members: int,
        roles: int = 20,
        everyone_holds: str | None = None,
        awkward_names: bool = False,
        seed: int | None = None,
    ) -> Json:
        """Make a guild of so many members beside the bot; the same seed makes the same guild.

        Return `{"guild_id", "mod_log_channel_id", "everyone_holds_role_id"}`; the last is the id of
        the role named `everyone_holds`, which every member but the bot has, or None. With
        `awkward_names` every 25th member has names of emoji, markdown, mentions, odd white space.
        """
        seeded = {} if seed is None else {"seed": seed}
        made: Json = await self._call(
            "POST",
            "guilds",
            guild_id=guild_id,
            members=members,
            roles=roles,
            everyone_holds=everyone_holds,
            awkward_names=awkward_names,
            **seeded,
        )
        return made

    async def tell_member_count(self, guild_id: int, count: int | None) -> None:
        """Let the guild tell this member count whatever it has; None: the true one again."""
        await self._call("PATCH", f"guilds/{guild_id}", told_count=count)

    async def members(self, guild_id: int) -> AsyncIterator[Json]:
        """Yield every member as it is when the call begins, the bot included, in no order."""
        async for row in self._lines(f"guilds/{guild_id}/members"):
            yield row

    async def record(self, guild_id: int) -> None:
        """Begin the guild's history, or begin it anew: what was done to it from now on."""
        await self._call("POST", f"guilds/{guild_id}/history")

    async def history(self, guild_id: int, *, after: int = 0) -> list[Json]:
        """Return what was done since `record`, oldest first, but for the `after` first.

        `{"at", "op", "id", "row", "told"}`: `at` is ISO 8601 with its zone, `op` that of
        `operations` ("put" for every change of a member), `row` what it is since, None if it is
        gone; `told` says whether the gateway had anybody to tell. Who loses a deleted role has no
        entry of their own.
        """
        return [row async for row in self._lines(f"guilds/{guild_id}/history?after={after}")]

    async def _lines(self, path: str) -> AsyncIterator[Json]:
        async with self._http.get(f"{self._url}/control/{path}") as response:
            await _raise_for_refusal(response)
            async for line in response.content:
                yield json.loads(line)

    async def roles(self, guild_id: int) -> list[Json]:
        """Return `{"id", "name", "position", "permissions", "colour"}` of every role."""
        found: list[Json] = await self._call("GET", f"guilds/{guild_id}/roles")
        return found

    async def operations(
        self,
        guild_id: int,
        operations: Iterable[Json],
        *,
        per_s: float | None = None,
        silent: bool = False,
    ) -> int:
        """Make many changes in order, return how many once all are made.

        With `per_s` the server spreads them evenly; without, it makes them as fast as it can. With
        `silent` no event is sent, as if the gateway had missed them. An operation is one of

        - `{"op": "put", "member": {...}}`: somebody joins, or is replaced
        - `{"op": "change", "id": 1, "name" | "global_name" | "nick" | "roles" | ...: value}`
        - `{"op": "leave", "id": 1}`
        - `{"op": "put_role", "role": {"id", "name", "position", "permissions", "colour"}}`
        - `{"op": "delete_role", "id": 1}`

        The first bad one raises ControlError; those before it stay made.
        """
        body = {"operations": list(operations), "per_s": per_s, "silent": silent}
        answer = await self._call("POST", f"guilds/{guild_id}/operations", **body)
        return int(answer["done"])

    async def _operate(self, guild_id: int, *, silent: bool, **operation: Any) -> None:
        await self.operations(guild_id, [operation], silent=silent)

    async def put_members(
        self, guild_id: int, members: Iterable[Json], *, silent: bool = False
    ) -> None:
        """Let these exact members join, or replace those of the same ids."""
        await self.operations(
            guild_id, ({"op": "put", "member": member} for member in members), silent=silent
        )

    async def join(self, guild_id: int, member: Json, *, silent: bool = False) -> None:
        await self._operate(guild_id, silent=silent, op="put", member=member)

    async def leave(self, guild_id: int, member_id: int, *, silent: bool = False) -> None:
        await self._operate(guild_id, silent=silent, op="leave", id=member_id)

    async def change(
        self, guild_id: int, member_id: int, *, silent: bool = False, **fields: Any
    ) -> None:
        """Change the named fields of a member."""
        await self._operate(guild_id, silent=silent, op="change", id=member_id, **fields)

    async def rename(
        self, guild_id: int, member_id: int, name: str, *, silent: bool = False
    ) -> None:
        """Change a member's username."""
        await self.change(guild_id, member_id, silent=silent, name=name)

    async def nick(
        self, guild_id: int, member_id: int, nick: str | None, *, silent: bool = False
    ) -> None:
        """Change a member's nickname; None takes it away."""
        await self.change(guild_id, member_id, silent=silent, nick=nick)

    async def set_roles(
        self, guild_id: int, member_id: int, roles: Sequence[int], *, silent: bool = False
    ) -> None:
        """Give a member exactly these roles."""
        await self.change(guild_id, member_id, silent=silent, roles=list(roles))

    async def make_administrator(self, guild_id: int, member_id: int) -> int:
        """Give a member the guild's administrator role, made first if need be; return its id."""
        made = await self._call("POST", f"guilds/{guild_id}/administrators", member_id=member_id)
        return int(made["role_id"])

    # -- roles ------------------------------------------------------------------------------------

    async def create_role(
        self, guild_id: int, name: str, *, silent: bool = False, **fields: Any
    ) -> int:
        """Make a role above all others; `fields` may set id, position, permissions, colour."""
        made = await self._call(
            "POST", f"guilds/{guild_id}/roles", name=name, silent=silent, **fields
        )
        return int(made["id"])

    async def update_role(
        self, guild_id: int, role_id: int, *, silent: bool = False, **fields: Any
    ) -> None:
        """Change the named fields of a role."""
        known = next((role for role in await self.roles(guild_id) if role["id"] == role_id), None)
        if known is None:
            raise ControlError(f"no role {role_id} in guild {guild_id}")
        await self._operate(guild_id, silent=silent, op="put_role", role=known | fields)

    async def delete_role(self, guild_id: int, role_id: int, *, silent: bool = False) -> None:
        """Delete a role; its holders lose it."""
        await self._operate(guild_id, silent=silent, op="delete_role", id=role_id)

    # -- channels and messages --------------------------------------------------------------------

    async def create_channel(self, guild_id: int, name: str) -> int:
        """Make a text channel, return its id."""
        return int((await self._call("POST", f"guilds/{guild_id}/channels", name=name))["id"])

    async def forbid_channel(self, channel_id: int, *, forbidden: bool = True) -> None:
        """Let the bot's requests about a channel fail with 403 for missing permissions."""
        await self._call("PATCH", f"channels/{channel_id}", forbidden=forbidden)

    async def hide_channel(self, channel_id: int, viewers: Iterable[int] | None) -> None:
        """Let only holders of these roles see a channel, and administrators and the bot; None: all.

        Who may not see it can't speak, command or press there: that raises ControlError.
        """
        told = None if viewers is None else list(viewers)
        await self._call("PATCH", f"channels/{channel_id}", viewers=told)

    async def channels(self, guild_id: int, member_id: int) -> list[Json]:
        """Return `{"id", "name"}` of every channel that a member may see."""
        path = f"guilds/{guild_id}/channels?member_id={member_id}"
        found: list[Json] = await self._call("GET", path)
        return found

    async def delete_channel(self, channel_id: int) -> None:
        await self._call("DELETE", f"channels/{channel_id}")

    async def post(self, channel_id: int, member_id: int, content: str) -> int:
        """Say something as a member, such as a text command; return the message's id."""
        path = f"channels/{channel_id}/messages"
        return int((await self._call("POST", path, member_id=member_id, content=content))["id"])

    async def messages(self, channel_id: int) -> list[Json]:
        """Return a channel's messages, oldest first, with every state that each one had.

        `{"id", "author_id", "edits": [{"at", "body"}], "deleted", "nonce"}`: the first of `edits`
        is the message as sent, the last as people see it; `at` is ISO 8601 with its zone; `body`
        is what was sent: content, embeds, components. Deleted messages stay listed.
        """
        found: list[Json] = await self._call("GET", f"channels/{channel_id}/messages")
        return found

    async def delete_message(self, channel_id: int, message_id: int) -> None:
        """Delete a message as a moderator would."""
        await self._call("DELETE", f"channels/{channel_id}/messages/{message_id}")

    # -- interactions -----------------------------------------------------------------------------

    async def commands(self) -> dict[str, list[Json]]:
        """Return the registered commands, under "global" and the guilds' ids as text."""
        found: dict[str, list[Json]] = await self._call("GET", "commands")
        return found

    async def invoke(
        self, channel_id: int, member_id: int, name: str, options: Json | None = None
    ) -> int:
        """Send a slash command ("sync", or "sync users" for a subcommand) as a member.

        An option's value is text, a number, a truth value, `{"user_id": 1}` for a member, or
        `{"role_id": 1}`. Return the interaction's id.
        """
        body = {"member_id": member_id, "name": name, "options": options or {}}
        return int((await self._call("POST", f"channels/{channel_id}/commands", **body))["id"])

    async def complete(
        self, channel_id: int, member_id: int, name: str, option: str, typed: str
    ) -> int:
        """Type into an option of a slash command as a member; return the interaction's id."""
        body = {"member_id": member_id, "name": name, "options": {option: typed}, "focused": option}
        return int((await self._call("POST", f"channels/{channel_id}/commands", **body))["id"])

    async def press(self, channel_id: int, message_id: int, member_id: int, custom_id: str) -> int:
        """Press a message's button as a member; return the interaction's id."""
        path = f"channels/{channel_id}/messages/{message_id}/press"
        return int((await self._call("POST", path, member_id=member_id, custom_id=custom_id))["id"])

    async def responses(self, interaction_id: int) -> list[Json]:
        """Return what the bot has answered so far, oldest first.

        A message is `{"id", "ephemeral", "visible_to", "deleted", "body", "edits"}`, `edits`
        counting its changes; `visible_to` is the one member who sees it, None if everybody does.
        """
        found: list[Json] = await self._call("GET", f"interactions/{interaction_id}")
        return found

    async def interaction_state(self, interaction_id: int) -> Json:
        """Return `{"acknowledged", "forgotten"}`: answered in any way; too late to answer."""
        found: Json = await self._call("GET", f"interactions/{interaction_id}/state")
        return found

    async def feed(self) -> AsyncIterator[Json]:
        """Yield what comes to be in all channels from now on, first `{"watching": True}`.

        `{"message", "interaction", "visible_to", "deleted"}` for a message that is new, edited or
        deleted, answers for one member included: `message` as Discord's API has it, `interaction`
        whose answer it is (`{"id", "user"}`) or None. `{"interaction": id, "acknowledged": True}`
        for an interaction that the bot answered for the first time.
        """
        async for line in self._lines("feed"):
            yield line

    # -- faults -----------------------------------------------------------------------------------

    async def counters(self) -> dict[str, int]:
        """Return how often things happened: identify, resume, member_requests, rate_limited, ..."""
        found: dict[str, int] = await self._call("GET", "counters")
        return found

    async def fault(self, name: str, value: float = 1) -> None:
        """Set a fault.

        Switches and values that stay: refuse_connections, member_interval_s, max_edit_age_s,
        hold_after_chunks (for as long as it isn't 0, no more of a full request come),
        session_starts and session_reset_s (how many sessions may begin yet, and when it is as many
        again), ahead_s (so much later it is for the three seconds and the fifteen minutes in which
        an interaction may be answered). How often it is still to happen: refuse_resume,
        ignore_user_requests, ignore_member_requests, rate_limit_members, rate_limit_repeats (only
        requests after a guild's first). Once, after so many chunks of a full request:
        chunks_only (the rest never comes), drop_after_chunks (the connection and its session are
        lost).
        """
        await self._call("PATCH", "faults", **{name: value})

    async def rest_fault(
        self,
        pattern: str,
        *,
        count: int = 1,
        status: int | None = None,
        delay_s: float = 0.0,
        after: bool = False,
        retry_after_s: float = 0.1,
    ) -> None:
        """Delay or fail the next `count` requests whose "METHOD /path" matches, * being anything.

        Paths are those below /api/v10. Without `status` requests are only delayed; with `after`
        they take effect and then fail; a 429 asks to wait for `retry_after_s`.
        """
        body = {
            "status": status,
            "delay_s": delay_s,
            "after": after,
            "retry_after_s": retry_after_s,
        }
        await self._call("POST", "faults/rest", pattern=pattern, count=count, **body)

    async def remove_rest_faults(self, pattern: str) -> None:
        """End the faults that were set with this very pattern."""
        await self._call("DELETE", "faults/rest", pattern=pattern)

    async def rate_limit(self, kind: str, limit: int, window_s: float) -> None:
        """Allow so many requests in so many seconds for each channel.

        `kind` is "message create", "message edit", "message delete", "message read", or a method
        and the first part of its path, like "GET guilds".
        """
        await self._call("PUT", "rate-limits", kind=kind, limit=limit, window_s=window_s)

    async def clear_faults(self) -> None:
        """Set every fault back to how the server starts."""
        await self._call("DELETE", "faults")

    async def allow_intents(self, *, allowed: bool) -> None:
        """Say whether the application may have the privileged intents."""
        await self._call("PUT", "intents", allowed=allowed)

    async def drop(self, *, resumable: bool = True, code: int = 4000) -> None:
        """Close every gateway connection; unless `resumable`, forget the sessions too."""
        await self._call("POST", "gateway/drop", resumable=resumable, code=code)

    async def reconnect(self) -> None:
        """Ask every client to connect again and resume."""
        await self._call("POST", "gateway/reconnect")

    async def invalidate(self) -> None:
        """Tell every client that its session is over and cannot be resumed."""
        await self._call("POST", "gateway/invalidate")

    async def outage(self, guild_id: int, *, begin: bool) -> None:
        """Make a guild unavailable, or available again."""
        await self._call("POST", "gateway/outage", guild_id=guild_id, begin=begin)


async def _raise_for_refusal(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:  # noqa: PLR2004 - the first status that means an error
        raise ControlError(f"{response.method} {response.url.path}: {await response.text()}")
