"""What must hold after a scenario, judged from rows, log lines and messages; the bot isn't asked.

Pure: values in, the list of what is wrong out, empty if nothing is. What a row is stands in the
site's contract; it is spelled out here once more, on purpose, so that a mistake in the bot's own
reading of it shows.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

_ENDINGS: Final = ("finished", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """A row of the site's users; `roles` as they are kept there, in order and number."""

    id: int
    name: str
    display_name: str
    discriminator: int
    roles: tuple[int, ...]
    in_guild: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleRow:
    """A row of the site's roles."""

    id: int
    name: str
    colour: int
    permissions: int
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field in which the site and the guild differ; the field is `row` if one lacks it all."""

    what: str
    id: int
    field: str
    site: object
    guild: object

    def __str__(self) -> str:
        if self.field == "row":
            lacking = "the site lacks it" if self.site is None else "the guild lacks it"
            return f"{self.what} {self.id}: {lacking}"
        return (
            f"{self.what} {self.id}: {self.field} is {self.site!r} on the site"
            f" and {self.guild!r} in the guild"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRequest:
    """A request as the site's log tells it; `rows` is None if it was about none."""

    method: str
    path: str
    status: int
    rows: int | None
    started_at: datetime
    duration: timedelta
    request_id: str

    @property
    def writes(self) -> bool:
        """Tell whether it asks the site to change something."""
        return self.method not in {"GET", "HEAD", "OPTIONS"}

    @property
    def applied(self) -> bool:
        """Tell whether the site did what was asked."""
        return 200 <= self.status < 300  # noqa: PLR2004  the range that means success

    @property
    def bulk(self) -> bool:
        """Tell whether it writes many users at once."""
        return (self.method, self.path) in {
            ("POST", "/api/bot/users"),
            ("PATCH", "/api/bot/users/bulk_patch"),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ModLogMessage:
    """A message with every state it had, as (when, body); the last is what people see."""

    id: int
    author_id: int
    states: tuple[tuple[datetime, Mapping[str, Any]], ...]
    deleted: bool = False

    @property
    def changed_at(self) -> datetime:
        """Return when it was last edited, or sent."""
        return self.states[-1][0]

    @property
    def embeds(self) -> Sequence[Mapping[str, Any]]:
        """Return the embeds that people see."""
        return self.states[-1][1].get("embeds") or ()

    @property
    def buttons(self) -> list[Mapping[str, Any]]:
        """Return the buttons that people see."""
        rows = self.states[-1][1].get("components") or ()
        return [button for row in rows for button in row["components"]]

    @property
    def title(self) -> str:
        """Return the title of its first embed, if it has any."""
        return next((embed.get("title") or "" for embed in self.embeds), "")

    @property
    def text(self) -> str:
        """Return all words that people see: content, then each embed from title to footer."""
        parts = [self.states[-1][1].get("content") or ""]
        for embed in self.embeds:
            parts += [embed.get("title") or "", embed.get("description") or ""]
            parts += [f"{field['name']}: {field['value']}" for field in embed.get("fields") or ()]
            parts.append((embed.get("footer") or {}).get("text") or "")
        return "\n".join(part for part in parts if part)


def expected_user(member: Mapping[str, Any], guild_id: int) -> UserRow:
    """Return the row that the site should have of a member of the sandbox's guild."""
    name = member["name"].strip()
    shown = member["nick"] or member["global_name"] or member["name"]
    return UserRow(
        id=member["id"],
        name=name,
        display_name=shown.strip(),
        discriminator=int(member["discriminator"]),
        roles=tuple(sorted({guild_id, *member["roles"]})),
        in_guild=True,
    )


def expected_role(role: Mapping[str, Any]) -> RoleRow:
    """Return the row that the site should have of a role of the sandbox's guild."""
    return RoleRow(
        id=role["id"],
        name=role["name"].strip(),
        colour=role["colour"],
        permissions=role["permissions"],
        position=role["position"],
    )


def user_differences(rows: Iterable[UserRow], members: Iterable[UserRow]) -> list[Difference]:
    """Compare every row of the site with the guild's members, and every member with the rows.

    Roles are compared as sets. A row of somebody who is not a member only has to say so.
    """
    wanted = {member.id: member for member in members}
    found = []
    for row in rows:
        member = wanted.pop(row.id, None)
        if member is None:
            if row.in_guild:
                found.append(_difference(row, "in_guild", site=True, guild=False))
        elif row != member:
            found += _field_differences(row, member)
    found += [_difference(member, "row", site=None, guild=member) for member in wanted.values()]
    return found


def role_differences(rows: Iterable[RoleRow], roles: Iterable[RoleRow]) -> list[Difference]:
    """Compare every role of the site with the guild's, both ways."""
    wanted = {role.id: role for role in roles}
    found = []
    for row in rows:
        role = wanted.pop(row.id, None)
        if role is None:
            found.append(_difference(row, "row", site=row, guild=None))
        elif row != role:
            found += _field_differences(row, role)
    found += [_difference(role, "row", site=None, guild=role) for role in wanted.values()]
    return found


def overlapping_writes(requests: Iterable[SiteRequest]) -> list[str]:
    """Name each write that the site began while another was under way: one may be in flight."""
    found = []
    busy_until = datetime.min.replace(tzinfo=UTC)
    for write in sorted(filter(lambda r: r.writes, requests), key=lambda r: r.started_at):
        if write.started_at < busy_until:
            found.append(f"write {write.request_id} began while another was under way")
        busy_until = max(busy_until, write.started_at + write.duration)
    return found


def foreign_writes(requests: Iterable[SiteRequest], run_id: str) -> list[str]:
    """Name each write whose request id doesn't say that it is of this run."""
    return [
        f"{write.method} {write.path} was written as {write.request_id!r}, not as run {run_id}"
        for write in requests
        if write.writes and not write.request_id.startswith(f"{run_id}-")
    ]


def live_writes(
    requests: Iterable[SiteRequest], messages: Iterable[ModLogMessage]
) -> list[SiteRequest]:
    """Return the writes of live changes that go by themselves, not in a run that mod-log shows."""
    footers = [footer for message in messages for _, footer in _heads(message)]
    return [
        request
        for request in requests
        if request.writes
        and not any(request.request_id.rpartition("-")[0] in footer for footer in footers)
    ]


def ended_message(messages: Iterable[ModLogMessage], run_id: str) -> ModLogMessage | None:
    """Return the message whose last state says that this run has ended, if there is one yet."""
    for message in messages:
        for title, footer in _heads(message):
            if run_id in footer and title.endswith(_ENDINGS):
                return message
    return None


def ended_runs(messages: Iterable[ModLogMessage]) -> list[ModLogMessage]:
    """Return the messages that tell how a run ended, alerts about it left out, oldest first."""
    ended: dict[str, ModLogMessage] = {}
    for message in messages:
        for title, footer in _heads(message):
            if title.endswith(_ENDINGS):
                ended.setdefault(footer, message)
    return list(ended.values())


def open_runs(messages: Iterable[ModLogMessage]) -> list[ModLogMessage]:
    """Return the messages that tell of a run as if it were still on."""
    return [
        message
        for message in messages
        if not message.deleted and any(title.startswith("syncing") for title, _ in _heads(message))
    ]


def mod_log_faults(messages: Sequence[ModLogMessage], run_id: str) -> list[str]:
    """Say what mod-log leaves out or leaves untrue, for a run that ended verified."""
    message = ended_message(messages, run_id)
    if message is None:
        return [f"mod-log has no message that says how run {run_id} ended"]
    words = message.text.casefold()
    return [
        f"mod-log's message of run {run_id} does not say {word!r}"
        for word in ("finished", "verified")
        if word not in words
    ]


def _heads(message: ModLogMessage) -> Iterator[tuple[str, str]]:
    """Yield each embed's title, case-folded, and footer."""
    for embed in message.embeds:
        footer = (embed.get("footer") or {}).get("text") or ""
        yield (embed.get("title") or "").casefold(), footer


def _field_differences(row: UserRow | RoleRow, wanted: UserRow | RoleRow) -> Iterator[Difference]:
    for name in (field.name for field in fields(row)):
        site, guild = getattr(row, name), getattr(wanted, name)
        same = set(site) == set(guild) if name == "roles" else site == guild
        if not same:
            yield _difference(row, name, site=site, guild=guild)


def _difference(row: UserRow | RoleRow, field: str, *, site: object, guild: object) -> Difference:
    what = "user" if isinstance(row, UserRow) else "role"
    return Difference(what=what, id=row.id, field=field, site=site, guild=guild)
