"""Commands, listeners and lifetimes: what joins the extension to a bot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import discord
from discord.ext import commands

from ._control import Control
from ._core.models import RoleId, UserId
from ._core.report import Ending, Notice, Tone, render
from ._guild import DiscordGuild
from ._reporter import DiscordModLog, to_embed
from ._site import HttpSite
from ._sync import Scope
from ._telemetry import Telemetry

if TYPE_CHECKING:
    from ._settings import SyncSettings

# Any bot: the extension is dropped into bots of other classes. mypy 2.4 can't infer the union of
# callbacks that discord.py's decorators take, hence an ignore at each of them.
_Context = commands.Context[Any]

_STOP_S: Final = 8.0  # leaves the rest of the ten seconds to the final message
_BUSY: Final = (
    "A sync is on already; `{prefix}sync status` shows it, `{prefix}sync cancel` stops it."
)


class NotAllowedError(commands.CheckFailure):
    """Somebody may not use the commands; the message says who may."""


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
        self._guild = DiscordGuild(bot, settings.guild_id, idle_s=settings.sync_member_timeout_s)
        self._mod_log = DiscordModLog(
            bot,
            channel_id=settings.mod_log_channel_id,
            alert_role_id=settings.alert_role_id,
            interval_s=settings.sync_edit_interval_s,
        )
        self._control = Control(
            site=self._site,
            guild=self._guild,
            mod_log=self._mod_log,
            telemetry=self._telemetry,
            settings=settings,
        )
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
        """Mark a new role."""
        if role.guild.id == self._settings.guild_id:
            self._control.dirty.mark_role(RoleId(role.id))

    @commands.Cog.listener()
    async def on_guild_role_update(self, _before: discord.Role, after: discord.Role) -> None:
        """Mark a role that changed."""
        if after.guild.id == self._settings.guild_id:
            self._control.dirty.mark_role(RoleId(after.id))

    @commands.Cog.listener()
    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """Start a sync: the members who held the role get no events of their own."""
        if role.guild.id == self._settings.guild_id:
            self._control.start_soon("because a role was deleted")

    # -- commands ---------------------------------------------------------------------------------

    async def cog_check(self, ctx: _Context) -> bool:
        """Let administrators and the configured roles in, in the configured server only."""
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
    async def sync_all(self, ctx: _Context) -> None:
        """Bring roles and users on the website in step with this server."""
        await self._start(ctx, Scope.ALL)

    @sync.command(name="users")  # type: ignore[arg-type] # see _Context
    async def sync_users(self, ctx: _Context) -> None:
        """Bring users on the website in step with this server."""
        await self._start(ctx, Scope.USERS)

    @sync.command(name="roles")  # type: ignore[arg-type] # see _Context
    async def sync_roles(self, ctx: _Context) -> None:
        """Bring roles on the website in step with this server."""
        await self._start(ctx, Scope.ROLES)

    @sync.command(name="plan")  # type: ignore[arg-type] # see _Context
    async def sync_plan(self, ctx: _Context) -> None:
        """Compare the website with this server and show what a sync would change."""
        await ctx.defer()
        async with ctx.typing():
            view = await self._control.plan(f"asked for by {ctx.author.name}")
        if view is None:
            await self._answer(ctx, self._busy())
        else:
            await self._answer(ctx, render(view))

    @sync.command(name="cancel")  # type: ignore[arg-type] # see _Context
    async def sync_cancel(self, ctx: _Context) -> None:
        """Stop the sync that is on before its next request."""
        view = self._control.cancel(f"Cancelled by <@{ctx.author.id}>.")
        said = "No sync is on." if view is None else f"Run `{view.run_id}` is being stopped."
        await self._answer(ctx, _said(said))

    async def _start(self, ctx: _Context, scope: Scope) -> None:
        view = self._control.start(scope, f"asked for by <@{ctx.author.id}>")
        if view is None:
            await self._answer(ctx, self._busy())
            return
        where = f"<#{self._settings.mod_log_channel_id}>"
        await self._answer(ctx, _said(f"Run `{view.run_id}` has started; {where} shows it."))

    def _busy(self) -> Notice:
        return _said(_BUSY.format(prefix=self._settings_prefix))

    @property
    def _settings_prefix(self) -> str:
        prefix = self._bot.command_prefix
        return prefix if isinstance(prefix, str) else "/"

    def _status(self) -> Notice:
        view = self._control.current or self._control.last
        if view is None:
            return _said("No sync has run since the bot started.")
        notice = render(view)
        waiting = len(self._control.dirty)
        if view.ending is Ending.VERIFIED and not waiting:
            return notice
        return Notice(
            title=notice.title,
            description=notice.description,
            tone=notice.tone,
            fields=(*notice.fields, ("Live changes waiting", f"{waiting:,}")),
            footer=notice.footer,
        )

    async def _answer(self, ctx: _Context, notice: Notice) -> None:
        await ctx.send(
            embed=to_embed(notice), allowed_mentions=discord.AllowedMentions.none(), silent=True
        )


def _said(text: str) -> Notice:
    return Notice(title="Sync", description=text, tone=Tone.RUNNING)
