"""What the operator decides, read once from the environment and from `.env`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict
from sentry_sdk.utils import BadDsn, Dsn

from bot.exts.backend.sync._secret_files import SecretFileSettings


class ConfigurationError(ValueError):
    """The operator has to change something; the message is one line that names it."""


class BotSettings(SecretFileSettings):
    """The bot's own settings; each extension reads its own.

    The environment wins over `.env`, and an empty value counts as none.
    """

    secrets_in_files = (
        "bot_token", "sentry_dsn", "site_api_token", "sync_state_url", "sync_ping_url",
    )  # fmt: skip
    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    bot_token: SecretStr
    bot_prefix: str = "!"
    bot_extensions: Annotated[tuple[str, ...], NoDecode] = (
        "bot.exts.backend.error_handler",
        "bot.exts.backend.sync",
    )
    sentry_dsn: SecretStr | None = None
    sentry_environment: str = "production"
    sentry_traces_sample_rate: Annotated[float, Field(ge=0, le=1)] = 1.0
    log_format: Literal["json", "console"] | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    metrics_host: str = "127.0.0.1"
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    discord_api_url: str | None = None
    discord_gateway_url: str | None = None

    # The extension's, read here only so that they can be kept out of logs and Sentry.
    site_api_token: SecretStr | None = None
    sync_state_url: SecretStr | None = None
    sync_ping_url: SecretStr | None = None

    bot_token_file: str | None = None
    sentry_dsn_file: str | None = None
    site_api_token_file: str | None = None
    sync_state_url_file: str | None = None
    sync_ping_url_file: str | None = None

    # The extension's, read here too because it decides how the client is built.
    sync_member_cache: bool = True

    @field_validator("bot_token")
    @classmethod
    def _token_is_bare(cls, token: SecretStr) -> SecretStr:
        value = token.get_secret_value()
        if not value:
            raise ValueError("is empty")
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ValueError('must be the bare token, without spaces or the word "Bot"')
        return token

    @field_validator("bot_extensions", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        for name in names:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ValueError(f"must be module names separated by commas, not {name!r}")
            if names.count(name) > 1:
                raise ValueError(f"names {name} twice")
        if not names:
            raise ValueError("names no module, so the bot would do nothing")
        return names

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("sentry_dsn")
    @classmethod
    def _dsn_is_whole(cls, dsn: SecretStr | None) -> SecretStr | None:
        if dsn is not None:
            try:
                Dsn(dsn.get_secret_value())
            except (BadDsn, ValueError):  # its own text may hold parts of the DSN
                raise ValueError("is not a Sentry DSN (https://key@host/project)") from None
        return dsn

    @field_validator("discord_api_url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        return None if url is None else _address(url, schemes=("http", "https"))

    @field_validator("discord_gateway_url")
    @classmethod
    def _is_websocket(cls, url: str | None) -> str | None:
        return None if url is None else _address(url, schemes=("ws", "wss"))

    def secrets(self) -> tuple[str, ...]:
        """List every value that must never be shown."""
        held = [self.bot_token, self.site_api_token, self.sentry_dsn, self.sync_ping_url]
        values = [secret.get_secret_value() for secret in held if secret is not None]
        if self.sync_state_url is not None:
            values.append(_password(self.sync_state_url.get_secret_value()))
        if self.sync_ping_url is not None:
            # What makes it a secret, without the host that a library may name by itself.
            values.append(urlsplit(self.sync_ping_url.get_secret_value()).path.strip("/"))
        return tuple(value for value in values if value)


def load_settings() -> BotSettings:
    """Read the settings.

    Raises:
        ConfigurationError: names every setting that is missing or malformed, on one line.

    """
    try:
        return BotSettings()
    except ValidationError as exc:
        # Not chained: pydantic's own text would put the values into a traceback.
        raise ConfigurationError(describe(exc)) from None
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f".env cannot be read: {exc}") from exc


def describe(error: ValidationError) -> str:
    """Say on one line which environment variables are wrong and why, never their values."""
    return "; ".join(
        _sentence(problem["loc"], problem["type"], problem["msg"], problem.get("ctx", {}))
        for problem in error.errors(include_input=False, include_url=False)
    )


def _sentence(
    location: Sequence[int | str], kind: str, message: str, context: Mapping[str, Any]
) -> str:
    if kind == "value_error" and not location:
        return str(context["error"])  # of several settings, which it names
    name = str(location[0]).upper() if location else "settings"
    if kind == "missing":
        return f"{name} is missing: set it in the environment or in .env"
    if kind == "value_error":
        return f"{name} {context['error']}"
    return f"{name} is malformed: {message[:1].lower()}{message[1:]}"


def _address(url: str, *, schemes: tuple[str, str]) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme not in schemes or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"must be a plain address like {schemes[1]}://host/path")
    return parts.geturl().rstrip("/")


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # the store's own settings say what is wrong with it
        return ""
