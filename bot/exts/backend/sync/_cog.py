"""Commands, listeners and lifetimes: what joins the extension to a bot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, Literal

import discord
from discord.ext import commands

from ._control import Control, Refusal
from ._core.models import RoleId, UserId
from ._core.report import Notice, Tone, render
from ._core.status import parked_list, status
from ._errors import StoreError
from ._guild import DiscordGuild
from ._reporter import DiscordModLog, to_embed
from ._site import HttpSite
from ._store import open_store
from ._sync import Scope
from ._telemetry import Telemetry

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ._settings import SyncSettings

# Any bot: the extension is dropped into bots of other classes. mypy 2.4 can't infer the union of
# callbacks that discord.py's decorators take, hence an ignore at each of them.
_Context = commands.Context[Any]

_STOP_S: Final = 8.0  # leaves the rest of the ten seconds to the final message


class NotAllowedError(commands.CheckFailure):
    """Somebody may not use the commands; the message says who may."""


class StandbyError(commands.CheckFailure):
    """Another process holds the lease, hears the same command, and answers it."""


class Sync(commands.Cog):
    """Keep the website's copy of this server in step."""

    def __init__(self, bot: commands.Bot, settings: SyncSettings) -> None:
        self._bot = bot
        self._settings = settings
        self._telemetry = Telemetry()
        self._site = HttpSite(
            base_url=settings.api_url,
            token=settings.site_api_token.get_secret_value(),
            deadline_s=settings.sync_deadline_s,
            max_answer_bytes=settings.sync_max_answer_bytes,
        )
        self._guild = DiscordGuild(
            bot,
            settings.guild_id,
            idle_s=settings.sync_member_timeout_s,
            renewed=lambda: self._control.want("because Discord began a new session"),
        )
        self._mod_log = DiscordModLog(
            bot,
            channel_id=settings.mod_log_channel_id,
            alert_role_id=settings.alert_role_id,
            interval_s=settings.sync_edit_interval_s,
        )
        self._control = Control(
            store=open_store(
                settings.sync_state_url.get_secret_value(),
                guild_id=settings.guild_id,
                lease_s=settings.sync_lease_s,
            ),
            site=self._site,
            guild=self._guild,
            mod_log=self._mod_log,
            telemetry=self._telemetry,
            settings=settings,
        )
        self._mod_log.keeper = self._control.ledger
        self._reporting: asyncio.Task[None] | None = None

    # -- lifetime ---------------------------------------------------------------------------------

    async def cog_load(self) -> None:
        """Start the work in tasks of their own: waiting for Discord in here would deadlock."""
        self._telemetry.register()
        self._guild.attach()
        self._reporting = asyncio.create_task(self._mod_log.run_forever())
        self._control.begin()

    async def cog_unload(self) -> None:
        """Stop within ten seconds, and leave a truthful last message."""
        await self._control.stop(within_s=_STOP_S)
        if self._reporting is not None:
            self._reporting.cancel()
            await asyncio.gather(self._reporting, return_exceptions=True)
        self._guild.detach()
        await self._site.close()
        self._telemetry.unregister()

    # -- listeners: they only mark ----------------------------------------------------------------

    @commands.Cog.listener()
    async def on_member_join(self, member: discord.Member) -> None:
        """Mark a member whom the site may not know."""
        if member.guild.id == self._settings.guild_id:
            self._control.dirty.mark_joined(UserId(member.id))

    @commands.Cog.listener()
    async def on_raw_member_remove(self, payload: discord.RawMemberRemoveEvent) -> None:
        """Mark a member who left, cached or not."""
        if payload.guild_id == self._settings.guild_id:
            self._control.dirty.mark_left(UserId(payload.user.id))

    @commands.Cog.listener()
    async def on_member_update(self, _before: discord.Member, after: discord.Member) -> None:
        """Mark a member whose nick or roles changed."""
        if after.guild.id == self._settings.guild_id:
            self._control.dirty.mark((UserId(after.id),))

    @commands.Cog.listener()
    async def on_user_update(self, _before: discord.User, after: discord.User) -> None:
        """Mark a member whose own name changed; strangers of other servers are none of ours."""
        guild = self._bot.get_guild(self._settings.guild_id)
        if guild is not None and guild.get_member(after.id) is not None:
            self._control.dirty.mark((UserId(after.id),))

    @commands.Cog.listener()
    async def on_guild_role_create(self, role: discord.Role) -> None:
        """Mark a new role, and who holds it already."""
        if role.guild.id == self._settings.guild_id:
            self._control.dirty.mark_role(RoleId(role.id))
            self._control.dirty.mark(UserId(member.id) for member in role.members)

    @commands.Cog.listener()
    async def on_guild_role_update(self, _before: discord.Role, after: discord.Role) -> None:
        """Mark a role that changed."""
        if after.guild.id == self._settings.guild_id:
            self._control.dirty.mark_role(RoleId(after.id))

    @commands.Cog.listener()
    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """Start a sync: the members who held the role get no events of their own."""
        if role.guild.id == self._settings.guild_id:
            self._control.want("because a role was deleted")

    # -- commands ---------------------------------------------------------------------------------

    async def cog_check(self, ctx: _Context) -> bool:
        """Let administrators and the configured roles in, in the configured server only."""
        if self._control.is_standby:
            raise StandbyError("Another process answers for this server.")
        if ctx.guild is None or ctx.guild.id != self._settings.guild_id:
            raise NotAllowedError("This works only in the server that is synced.")
        author = ctx.author
        if isinstance(author, discord.Member) and (
            author.guild_permissions.administrator
            or any(author.get_role(id_) for id_ in self._settings.sync_command_role_ids)
        ):
            return True
        raise NotAllowedError("Only administrators and the configured roles may use this.")

    async def cog_command_error(self, ctx: _Context, error: Exception) -> None:
        """Answer a refusal; whatever else goes wrong is for the bot's own handler."""
        if isinstance(error, NotAllowedError):
            await ctx.send(
                str(error), ephemeral=True, allowed_mentions=discord.AllowedMentions.none()
            )

    # No `fallback`: beside a subcommand of the same name discord.py 2.7 registers neither.
    @commands.hybrid_group(name="sync")  # type: ignore[arg-type] # see _Context
    @commands.guild_only()
    async def sync(self, ctx: _Context) -> None:
        """Show the sync that is on, or the last one."""
        await self._answer(ctx, self._status())

    @sync.command(name="status")  # type: ignore[arg-type] # see _Context
    async def sync_status(self, ctx: _Context) -> None:
        """Show the sync that is on, or the last one."""
        await self._answer(ctx, self._status())

    @sync.command(name="all")  # type: ignore[arg-type] # see _Context
    async def sync_all(self, ctx: _Context, force: Literal["force"] | None = None) -> None:
        """Bring roles and users on the website in step with this server."""
        await self._start(ctx, Scope.ALL, force)

    @sync.command(name="users")  # type: ignore[arg-type] # see _Context
    async def sync_users(self, ctx: _Context, force: Literal["force"] | None = None) -> None:
        """Bring users on the website in step with this server."""
        await self._start(ctx, Scope.USERS, force)

    @sync.command(name="roles")  # type: ignore[arg-type] # see _Context
    async def sync_roles(self, ctx: _Context, force: Literal["force"] | None = None) -> None:
        """Bring roles on the website in step with this server."""
        await self._start(ctx, Scope.ROLES, force)

    @sync.command(name="plan")  # type: ignore[arg-type] # see _Context
    async def sync_plan(self, ctx: _Context) -> None:
        """Compare the website with this server and show what a sync would change."""
        await ctx.defer()
        async with ctx.typing():
            view = await self._control.plan(f"asked for by {ctx.author.name}")
        await self._answer(ctx, _said(view.reason) if isinstance(view, Refusal) else render(view))

    @sync.command(name="cancel")  # type: ignore[arg-type] # see _Context
    async def sync_cancel(self, ctx: _Context) -> None:
        """Stop the sync that is on before its next request."""
        view = self._control.cancel(f"Cancelled by {_who(ctx)}.")
        said = "No sync is on." if view is None else f"Run `{view.run_id}` is being stopped."
        await self._answer(ctx, _said(said))

    @sync.command(name="pause")  # type: ignore[arg-type] # see _Context
    async def sync_pause(self, ctx: _Context) -> None:
        """Hold every write to the website until it is resumed."""
        await self._order(ctx, self._control.ledger.pause(_who(ctx)), "Sync is paused.")

    @sync.command(name="resume")  # type: ignore[arg-type] # see _Context
    async def sync_resume(self, ctx: _Context) -> None:
        """End the pause."""
        await self._order(ctx, self._control.ledger.resume(_who(ctx)), "Sync goes on.")

    @sync.command(name="parked")  # type: ignore[arg-type] # see _Context
    async def sync_parked(self, ctx: _Context) -> None:
        """Show the rows that the website does not take."""
        await self._answer(ctx, parked_list(self._control.ledger.parked.values()))

    @sync.command(name="retry")  # type: ignore[arg-type] # see _Context
    async def sync_retry(self, ctx: _Context) -> None:
        """Try the parked rows again now."""
        count = len(self._control.ledger.parked)
        await self._order(ctx, self._control.retry_parked(), f"{count:,} rows are tried again.")

    @sync.group(name="breaker")  # type: ignore[arg-type] # see _Context
    async def sync_breaker(self, ctx: _Context) -> None:
        """Show whether the breaker lets syncs write."""
        await self._answer(ctx, self._status())

    @sync_breaker.command(name="open")  # type: ignore[arg-type] # see _Context
    async def sync_breaker_open(self, ctx: _Context, *, reason: str = "") -> None:
        """Let nothing be written to the website until a reset."""
        order = self._control.ledger.open_breaker(_who(ctx), reason)
        await self._order(ctx, order, "The breaker is open until it is reset.")

    @sync_breaker.command(name="reset")  # type: ignore[arg-type] # see _Context
    async def sync_breaker_reset(self, ctx: _Context) -> None:
        """Close the breaker and forget the failures that were counted."""
        await self._order(ctx, self._control.reset_breaker(_who(ctx)), "The breaker is closed.")

    async def _start(self, ctx: _Context, scope: Scope, force: str | None) -> None:
        trigger = f"asked for by {_who(ctx)}"
        view = self._control.start(scope, trigger, forced=force is not None)
        if isinstance(view, Refusal):
            await self._answer(ctx, _said(view.reason))
            return
        where = f"<#{self._settings.mod_log_channel_id}>"
        await self._answer(ctx, _said(f"Run `{view.run_id}` has started; {where} shows it."))

    async def _order(self, ctx: _Context, order: Coroutine[Any, Any, None], said: str) -> None:
        """Carry out what was ordered, if this process may, and say so."""
        try:
            if not self._control.is_leading:
                order.close()
                said = f"This bot may not do that now: {self._control.trouble}."
            else:
                await order
        except StoreError as exc:
            said = f"That could not be kept, so it does not hold: {exc}"
        await self._answer(ctx, _said(said))

    def _status(self) -> Notice:
        control = self._control
        view = control.current or control.last
        return status(
            control.ledger.state,
            view,
            waiting=len(control.dirty),
            parked=len(control.ledger.parked),
            max_items=self._settings.sync_max_items,
            trouble=None if control.is_leading else control.trouble,
            drift=control.ledger.drift,
        )

    async def _answer(self, ctx: _Context, notice: Notice) -> None:
        await ctx.send(
            embed=to_embed(notice), allowed_mentions=discord.AllowedMentions.none(), silent=True
        )


def _who(ctx: _Context) -> str:
    return f"<@{ctx.author.id}>"


def _said(text: str) -> Notice:
    return Notice(title="Sync", description=text, tone=Tone.RUNNING)
