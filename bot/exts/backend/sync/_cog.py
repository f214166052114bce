"""Commands, listeners and lifetimes: what joins the extension to a bot."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import discord
import structlog
from discord import app_commands
from discord.ext import commands

from ._core.messages import alert
from ._core.messages.buttons import right_of
from ._core.messages.reply import Reply, said
from ._core.model.members import RoleId, UserId
from ._core.policy.departures import Decision
from ._core.policy.orders import Way
from ._core.policy.rights import Right, right_for
from ._core.site.wire import shown
from ._discord.call import (
    ButtonPress,
    ContextCall,
    cause,
    complaint,
)
from ._discord.message import prefix_of
from ._discord.presses import hearing
from ._runs.run import Scope
from ._service.commands import MAX_ITEMS, TARGET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._app import App
    from ._core.messages.buttons import Button

log = structlog.get_logger(__name__)

# Any bot: the extension is dropped into bots of other classes. mypy 2.4 can't infer the union of
# callbacks that discord.py's decorators take, hence an ignore at each of them.
_Context = commands.Context[Any]

_CHOICES: Final = 25  # Discord's bound


_LONGEST_WORD: Final = 40
# A reason is somebody's own words; whom to forget is not to be remembered.
_UNQUOTED: Final = frozenset({"breaker open", "forget"})
_WHO_MAY: Final = {
    Right.LOOK: "Only administrators and the configured roles may use this.",
    Right.OPERATE: "Only administrators and the roles that may operate the sync may use this.",
    Right.APPROVE: "Only administrators and the roles that may approve may use this.",
}
ELSEWHERE: Final = "This works only in the server that is synced."


class NotAllowedError(commands.CheckFailure):
    """Somebody may not use the commands; the message says who may."""


class StandbyError(commands.CheckFailure):
    """Another process holds the lease, hears the same command, and answers it."""


class Force(commands.Converter[str]):
    """The word `force`, in whatever letters."""

    async def convert(self, _ctx: _Context, argument: str) -> str:
        """Return the word, or refuse another."""
        return _one_of(("force",), argument)


class PaceName(commands.Converter[str]):
    """What of a run's pace can be set."""

    async def convert(self, _ctx: _Context, argument: str) -> str:
        """Return the name, or refuse another."""
        return _one_of((TARGET, MAX_ITEMS), argument)


def _one_of(words: Iterable[str], argument: str) -> str:
    word = argument.lower()
    if word not in words:
        raise commands.BadArgument
    return word


def _choices(*words: str) -> list[app_commands.Choice[str]]:
    return [app_commands.Choice(name=word, value=word) for word in words]


_Force: TypeAlias = Annotated[str, Force] | None
_PaceName: TypeAlias = Annotated[str, PaceName]


class Sync(commands.Cog):
    """Keep the website's copy of this server in step."""

    def __init__(self, bot: commands.Bot, app: App) -> None:
        self._bot = bot
        self._app = app
        self._settings = app.settings
        self._questions = app.questions
        self._commands = app.commands
        self._answers = app.answers
        for command in self.walk_commands():
            command.ignore_extra = False  # a word that nobody knows must not start a run
        self._button = hearing(self._on_press)

    # -- lifetime ---------------------------------------------------------------------------------

    async def cog_load(self) -> None:
        """Start; this returns at once."""
        self._bot.add_dynamic_items(self._button)
        self._app.start()

    async def cog_unload(self) -> None:
        """Stop; this takes ten seconds at most."""
        await self._app.stop()
        self._bot.remove_dynamic_items(self._button)

    def status(self) -> dict[str, object]:
        """Return how the extension stands now, as plain values; `ready` says whether it may act.

        For the bot around it: docs/events.md has all keys. To be called on the event loop.
        """
        return self._app.standings.now().to_json()

    # -- listeners: they only mark ----------------------------------------------------------------

    @commands.Cog.listener()
    async def on_member_join(self, member: discord.Member) -> None:
        """Mark a member whom the site may not know."""
        if member.guild.id == self._settings.guild_id:
            self._app.service.queue.mark_joined(UserId(member.id))

    @commands.Cog.listener()
    async def on_raw_member_remove(self, payload: discord.RawMemberRemoveEvent) -> None:
        """Mark a member who left, cached or not."""
        if payload.guild_id == self._settings.guild_id:
            self._app.service.queue.mark_left(UserId(payload.user.id))

    @commands.Cog.listener()
    async def on_user_update(self, _before: discord.User, after: discord.User) -> None:
        """Mark a member whose own name changed; strangers of other servers are none of ours."""
        guild = self._bot.get_guild(self._settings.guild_id)
        if guild is not None and guild.get_member(after.id) is not None:
            self._app.service.queue.mark((UserId(after.id),))

    @commands.Cog.listener()
    async def on_guild_role_create(self, role: discord.Role) -> None:
        """Mark a new role, and who holds it already."""
        if role.guild.id == self._settings.guild_id:
            self._app.service.queue.mark_role(RoleId(role.id))
            self._app.service.queue.mark(UserId(member.id) for member in role.members)

    @commands.Cog.listener()
    async def on_guild_role_update(self, _before: discord.Role, after: discord.Role) -> None:
        """Mark a role that changed."""
        if after.guild.id == self._settings.guild_id:
            self._app.service.queue.mark_role(RoleId(after.id))

    @commands.Cog.listener()
    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """Start a sync: the members who held the role get no events of their own."""
        if role.guild.id == self._settings.guild_id:
            self._app.service.scheduler.want("because a role was deleted")

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Note which runs mod-log shows: one that is not ours is that of another bot."""
        run_id = self._app.mod_log.run_shown(message)
        if run_id:
            self._app.service.heard_of(run_id)

    @commands.Cog.listener()
    async def on_commands_sync_failed(self, error: Exception) -> None:
        """Tell people that `/sync` is missing; a bot that tells of it does so by this event."""
        self._app.service.say(alert.commands_missing(shown(str(error)) or type(error).__name__))

    # -- who may ----------------------------------------------------------------------------------

    def _refusal(
        self,
        guild_id: int | None,
        person: discord.Member | discord.User,
        interaction: discord.Interaction[Any] | None,
        right: Right,
    ) -> str | None:
        """Let administrators and whose roles have a right in, in the configured server only.

        An interaction brings Discord's own word on what its person may do.
        """
        if guild_id != self._settings.guild_id:
            return ELSEWHERE
        if isinstance(person, discord.Member):
            known = person.guild_permissions if interaction is None else interaction.permissions
            held = {role.id for role in person.roles}
            if known.administrator or held & self._settings.roles_that_may(right):
                return None
            if held & self._settings.roles_that_may(Right.LOOK):
                return _WHO_MAY[right]
        return _WHO_MAY[Right.LOOK]

    async def cog_check(self, ctx: _Context) -> bool:
        """Refuse whoever may not, in words for `cog_command_error`."""
        if self._app.service.leadership.is_standby:
            raise StandbyError("Another process answers for this server.")
        guild_id = None if ctx.guild is None else ctx.guild.id
        refusal = self._refusal(guild_id, ctx.author, ctx.interaction, right_for(_command(ctx)))
        if refusal is not None:
            raise NotAllowedError(refusal)
        return True

    async def cog_before_invoke(self, ctx: _Context) -> None:
        """Note who orders what, before it is carried out."""
        command = _command(ctx)
        if right_for(command) is not Right.LOOK:
            what = command if command in _UNQUOTED else " ".join((command, *_typed(ctx)))
            way = Way.TEXT if ctx.interaction is None else Way.SLASH
            self._app.service.audit.note(ctx.author.id, what, way)

    async def cog_command_error(self, ctx: _Context, error: Exception) -> None:
        """Answer whatever goes wrong: discord.py leaves it to nobody else then."""
        call = self._call(ctx)
        match error:
            case StandbyError():
                return
            case NotAllowedError():
                await self._answers.refuse(call, str(error))
            case commands.NoPrivateMessage():
                await self._answers.refuse(call, ELSEWHERE)
            case _:
                text = complaint(ctx, error)
                if text is None:
                    text = self._answers.fault(call, cause(error))
                await self._answers.tell(call, text)

    async def cog_app_command_error(
        self, interaction: discord.Interaction[Any], error: app_commands.AppCommandError
    ) -> None:
        """Answer what goes wrong before a slash command is one of ours."""
        await self.cog_command_error(await self._bot.get_context(interaction), error)

    def _call(self, ctx: _Context) -> ContextCall:
        return ContextCall(ctx, clock=self._app.service.clock)

    # -- buttons ----------------------------------------------------------------------------------

    async def _on_press(self, interaction: discord.Interaction[Any], button: Button | None) -> None:
        """Answer whoever pressed a button: an order for everybody to see, all else for them."""
        if self._app.service.leadership.is_standby:
            return  # the process that leads hears it, too
        person = interaction.user
        press = ButtonPress(
            interaction, button, prefix=prefix_of(self._bot), clock=self._app.service.clock
        )
        right = Right.LOOK if button is None else right_of(button.action)
        refusal = self._refusal(interaction.guild_id, person, interaction, right)
        if refusal is not None:
            await self._answers.refuse(press, refusal)
            return

        async def work() -> Reply:
            if button is None:
                return said("This bot does not know that button: another version sent it.")
            if right is not Right.LOOK:
                what = f"{button.action.value} {button.argument}".strip()
                self._app.service.audit.note(person.id, what, Way.BUTTON)
            log.info(
                "sync.button.pressed",
                action=button.action.value,
                argument=button.argument,
                user_id=person.id,
            )
            return await self._commands.pressed(button, f"<@{person.id}>")

        await self._answers.answer_press(press, work)

    # -- commands ---------------------------------------------------------------------------------

    # No `fallback`: beside a subcommand of the same name discord.py 2.7 registers neither.
    @commands.hybrid_group(name="sync", case_insensitive=True)  # type: ignore[arg-type] # see _Context
    @commands.guild_only()
    async def sync(self, ctx: _Context) -> None:
        """Show the sync that is on, or the last one."""
        await self._answer(ctx, self._questions.status())

    @sync.command(name="status")  # type: ignore[arg-type] # see _Context
    async def sync_status(self, ctx: _Context) -> None:
        """Show the sync that is on, or the last one."""
        await self._answer(ctx, self._questions.status())

    @sync.command(name="help")  # type: ignore[arg-type] # see _Context
    async def sync_help(self, ctx: _Context) -> None:
        """List the commands by what you want to do."""
        await self._answer(ctx, self._questions.help())

    @sync.command(name="all")  # type: ignore[arg-type] # see _Context
    @app_commands.choices(force=_choices("force"))
    async def sync_all(self, ctx: _Context, force: _Force = None) -> None:
        """Bring roles and users on the website in step with this server."""
        await self._start(ctx, Scope.ALL, force)

    @sync.command(name="users")  # type: ignore[arg-type] # see _Context
    @app_commands.choices(force=_choices("force"))
    async def sync_users(self, ctx: _Context, force: _Force = None) -> None:
        """Bring users on the website in step with this server."""
        await self._start(ctx, Scope.USERS, force)

    @sync.command(name="roles")  # type: ignore[arg-type] # see _Context
    @app_commands.choices(force=_choices("force"))
    async def sync_roles(self, ctx: _Context, force: _Force = None) -> None:
        """Bring roles on the website in step with this server."""
        await self._start(ctx, Scope.ROLES, force)

    @sync.command(name="plan")  # type: ignore[arg-type] # see _Context
    async def sync_plan(self, ctx: _Context) -> None:
        """Compare the website with this server and show what a sync would change."""
        call = self._call(ctx)
        await self._answers.defer(call, private=True)
        async with contextlib.nullcontext() if ctx.interaction else ctx.typing():
            reply = await self._commands.plan(_who(ctx))
        await self._answers.give(call, reply, private=True)

    @sync.command(name="cancel")  # type: ignore[arg-type] # see _Context
    async def sync_cancel(self, ctx: _Context) -> None:
        """Stop the sync that is on before its next request."""
        await self._answer(ctx, self._commands.cancel(_who(ctx)))

    @sync.command(name="pause")  # type: ignore[arg-type] # see _Context
    async def sync_pause(self, ctx: _Context) -> None:
        """Hold every write to the website until it is resumed."""
        await self._answers.carry_out(self._call(ctx), self._commands.pause(_who(ctx)))

    @sync.command(name="resume")  # type: ignore[arg-type] # see _Context
    async def sync_resume(self, ctx: _Context) -> None:
        """End the pause."""
        await self._answers.carry_out(self._call(ctx), self._commands.resume(_who(ctx)))

    @sync.command(name="audit")  # type: ignore[arg-type] # see _Context
    async def sync_audit(self, ctx: _Context) -> None:
        """Show who ordered what, and when."""
        await self._answer(ctx, self._questions.audit())

    @sync.command(name="parked")  # type: ignore[arg-type] # see _Context
    async def sync_parked(self, ctx: _Context) -> None:
        """Show the rows that the website does not take."""
        await self._answers.give(self._call(ctx), self._questions.parked(), private=True)

    @sync.command(name="retry")  # type: ignore[arg-type] # see _Context
    async def sync_retry(self, ctx: _Context) -> None:
        """Try the parked rows again now."""
        await self._answers.carry_out(self._call(ctx), self._commands.retry_parked())

    @sync.command(name="user")  # type: ignore[arg-type] # see _Context
    @app_commands.describe(member="whose row to bring in step; an id will do for who has left")
    async def sync_user(self, ctx: _Context, member: discord.Member | discord.User) -> None:
        """Show how the website's row of a member differs, field by field, and bring it in step."""
        await self._answers.follow(self._call(ctx), self._commands.single(UserId(member.id)))

    @sync.command(name="forget")  # type: ignore[arg-type] # see _Context
    @app_commands.describe(member="the id of somebody who has left")
    async def sync_forget(self, ctx: _Context, member: discord.Member | discord.User) -> None:
        """Forget what the bot keeps about somebody who has left."""
        order = self._commands.forget(UserId(member.id))
        await self._answers.carry_out(self._call(ctx), order)

    @sync.command(name="history")  # type: ignore[arg-type] # see _Context
    @app_commands.describe(run="the id of a run, to be told more of it")
    async def sync_history(self, ctx: _Context, run: str | None = None) -> None:
        """Show the latest runs, or one with the time that its requests took."""
        if run is None:
            await self._answer(ctx, self._questions.history())
        else:
            await self._answers.carry_out(self._call(ctx), self._questions.details(run.lower()))

    @sync_history.autocomplete("run")
    async def _complete_run(
        self, interaction: discord.Interaction[Any], typed: str
    ) -> list[app_commands.Choice[str]]:
        return self._choices(interaction, self._questions.run_ids(), typed, Right.LOOK)

    @sync.command(name="set")  # type: ignore[arg-type] # see _Context
    @app_commands.describe(
        name="target: seconds that a request should take; max-items: most rows a request",
        value="seconds, or rows",
    )
    @app_commands.choices(name=_choices(TARGET, MAX_ITEMS))
    async def sync_set(self, ctx: _Context, name: _PaceName, value: float) -> None:
        """Set the pace of the sync that is on; the next one has its own again."""
        await self._answer(ctx, self._commands.tune(name, value, _who(ctx)))

    @sync.command(name="approve")  # type: ignore[arg-type] # see _Context
    async def sync_approve(self, ctx: _Context, list_id: str | None = None) -> None:
        """Let withheld departures or role deletions be written."""
        order = self._commands.decide(list_id, Decision.APPROVED, _who(ctx))
        await self._answers.carry_out(self._call(ctx), order)

    @sync_approve.autocomplete("list_id")
    async def _complete_list(
        self, interaction: discord.Interaction[Any], typed: str
    ) -> list[app_commands.Choice[str]]:
        return self._choices(interaction, self._questions.list_ids(), typed, Right.APPROVE)

    @sync.command(name="reject")  # type: ignore[arg-type] # see _Context
    async def sync_reject(self, ctx: _Context, list_id: str | None = None) -> None:
        """Keep withheld departures or role deletions from being written."""
        order = self._commands.decide(list_id, Decision.REJECTED, _who(ctx))
        await self._answers.carry_out(self._call(ctx), order)

    @sync_reject.autocomplete("list_id")
    async def _complete_rejected(
        self, interaction: discord.Interaction[Any], typed: str
    ) -> list[app_commands.Choice[str]]:
        return self._choices(interaction, self._questions.list_ids(), typed, Right.APPROVE)

    def _choices(
        self, interaction: discord.Interaction[Any], ids: Iterable[str], typed: str, right: Right
    ) -> list[app_commands.Choice[str]]:
        """Return what may stand for an argument; nothing to those who may not use the command."""
        if self._refusal(interaction.guild_id, interaction.user, interaction, right) is not None:
            return []
        fitting = (id_ for id_ in ids if id_.startswith(typed.lower()))
        return [app_commands.Choice(name=id_, value=id_) for id_ in islice(fitting, _CHOICES)]

    @sync.group(name="breaker", case_insensitive=True)  # type: ignore[arg-type] # see _Context
    async def sync_breaker(self, ctx: _Context) -> None:
        """Show whether the breaker lets syncs write."""
        await self._answer(ctx, self._questions.breaker())

    @sync_breaker.command(name="open")  # type: ignore[arg-type] # see _Context
    async def sync_breaker_open(self, ctx: _Context, *, reason: str = "") -> None:
        """Let nothing be written to the website until a reset."""
        await self._answers.carry_out(
            self._call(ctx), self._commands.open_breaker(_who(ctx), reason)
        )

    @sync_breaker.command(name="reset")  # type: ignore[arg-type] # see _Context
    async def sync_breaker_reset(self, ctx: _Context) -> None:
        """Close the breaker and forget the failures that were counted."""
        await self._answers.carry_out(self._call(ctx), self._commands.reset_breaker(_who(ctx)))

    async def _start(self, ctx: _Context, scope: Scope, force: str | None) -> None:
        reply = self._commands.start(scope, _who(ctx), forced=force is not None)
        await self._answer(ctx, reply)

    async def _answer(self, ctx: _Context, reply: Reply) -> None:
        await self._answers.give(self._call(ctx), reply)


def _command(ctx: _Context) -> str:
    """Return which command of `sync` this is, as it is typed behind that word."""
    name = "" if ctx.command is None else ctx.command.qualified_name
    return name.removeprefix("sync").strip()


def _typed(ctx: _Context) -> Iterable[str]:
    """Yield what was given to a command, as far as we understood it: a person by their id."""
    for value in (*ctx.args[2:], *ctx.kwargs.values()):
        match value:
            case discord.Member() | discord.User():
                yield str(value.id)
            case float():
                yield f"{value:g}"
            case str():
                yield value[:_LONGEST_WORD]


def _who(ctx: _Context) -> str:
    return f"<@{ctx.author.id}>"
