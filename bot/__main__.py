"""`python -m bot`: run until told to stop.

Exit codes: 0 after SIGTERM or SIGINT; 78 for what the operator has to change, with one line on
standard error that names it; 1 for anything unforeseen, a shutdown that hangs among it; 130 or 143
when a second signal cuts the shutdown short.
"""

import asyncio
import os
import signal
import sys
from typing import Any

import sentry_sdk
import structlog

from bot import __version__, telemetry
from bot.bot import Bot
from bot.health import Health, HealthServer
from bot.settings import BotSettings, ConfigurationError, load_settings

_EX_CONFIG = os.EX_CONFIG  # 78, as sysexits.h has it
_FLUSH_LIMIT_S = 2.0

_log: structlog.stdlib.BoundLogger = structlog.get_logger("bot")


def main() -> int:
    """Run the bot and return the process's exit code."""
    redactor = telemetry.Redactor(())
    try:
        settings = load_settings()
        redactor = telemetry.Redactor(settings.secrets())
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr] # a real file
        telemetry.configure_logging(
            stream=sys.stdout,
            log_format=settings.log_format,
            level=settings.log_level,
            redactor=redactor,
        )
        telemetry.configure_sentry(settings, redactor)
        asyncio.run(_serve(settings))
    except ConfigurationError as exc:
        print(redactor.text("bot: " + " ".join(str(exc).split())), file=sys.stderr)  # noqa: T201 - the one line
        return _EX_CONFIG
    except Exception as exc:  # noqa: BLE001 - the outermost boundary
        _log.critical("bot.crashed", exc_info=True)
        sentry_sdk.capture_exception(exc)
        return 1
    finally:
        sentry_sdk.flush(timeout=_FLUSH_LIMIT_S)
    return 0


async def _serve(settings: BotSettings) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_report_task)
    told_to_stop = _listen_for_signals(loop)
    _log.info("bot.starting", version=__version__, extensions=settings.bot_extensions)
    async with Bot(settings) as bot:
        bot.loop_watch.start()
        server = _serve_health(settings, Health(bot, loop))
        try:
            await _live(settings, bot, told_to_stop)
        finally:
            if server is not None:
                await asyncio.to_thread(server.close)


async def _live(settings: BotSettings, bot: Bot, told_to_stop: asyncio.Event) -> None:
    """Run the bot until its own end, or until told to stop."""
    life = asyncio.create_task(bot.live(settings.bot_extensions), name="bot: life")
    stop = asyncio.create_task(told_to_stop.wait(), name="bot: stop")
    await asyncio.wait({life, stop}, return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        stop.cancel()
        life.result()
        return
    # Closed before cancelled: extensions end their work while Discord still listens.
    await bot.close()
    if bot.hangs:
        # A task that does not end by being cancelled would keep the loop from its end, too.
        sentry_sdk.flush(timeout=_FLUSH_LIMIT_S)
        os._exit(1)
    life.cancel()
    await asyncio.gather(life, return_exceptions=True)


def _listen_for_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Event:
    told_to_stop = asyncio.Event()

    def handle(number: signal.Signals) -> None:
        if told_to_stop.is_set():
            os._exit(128 + number)
        _log.info("bot.stopping", signal=number.name)
        told_to_stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    return told_to_stop


def _serve_health(settings: BotSettings, health: Health) -> HealthServer | None:
    if settings.metrics_port is None:
        return None
    try:
        server = HealthServer(health, host=settings.metrics_host, port=settings.metrics_port)
    except OSError as exc:
        raise ConfigurationError(
            f"METRICS_PORT {settings.metrics_port} cannot be opened on METRICS_HOST "
            f"{settings.metrics_host}: {exc.strerror}"
        ) from exc
    _log.info("bot.metrics.listening", host=settings.metrics_host, port=server.port)
    return server


def _report_task(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log and report what a task or callback raised when nobody waited for it."""
    error = context.get("exception")
    _log.error("bot.task.failed", message=context["message"], exc_info=error)
    if isinstance(error, BaseException):
        sentry_sdk.capture_exception(error)


if __name__ == "__main__":
    sys.exit(main())
