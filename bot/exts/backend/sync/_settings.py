"""The extension's settings, from the environment and `.env`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, HttpUrl, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from ._core.pace import PaceLimits
from ._core.patience import PatienceLimits
from ._errors import SettingsError


def _is_header_value(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without blanks")
    return secret


_Snowflake = Annotated[int, Field(gt=0, lt=2**63)]
_Seconds = Annotated[float, Field(gt=0, le=86400)]


class SyncSettings(BaseSettings):
    """What the extension needs to know; each is the environment variable of its name in capitals.

    Times are in seconds, sizes in rows or bytes.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    guild_id: _Snowflake
    site_api_url: HttpUrl
    site_api_token: Annotated[SecretStr, AfterValidator(_is_header_value)]
    mod_log_channel_id: _Snowflake
    alert_role_id: _Snowflake | None = None
    sync_command_role_ids: Annotated[tuple[_Snowflake, ...], NoDecode] = ()

    sync_at_start: bool = True
    sync_target_s: _Seconds = 0.5
    sync_first_items: Annotated[int, Field(gt=0)] = 100
    sync_floor_items: Annotated[int, Field(gt=0)] = 10
    sync_max_items: Annotated[int, Field(gt=0, le=100_000)] = 1000
    sync_max_bytes: Annotated[int, Field(ge=1024)] = 256 * 1024
    sync_page_items: Annotated[int, Field(gt=0, le=10_000)] = 1000
    sync_deadline_s: _Seconds = 30
    sync_max_answer_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * 1024
    sync_max_failing: Annotated[int, Field(gt=0)] = 5
    sync_stall_s: _Seconds = 600
    sync_backoff_s: _Seconds = 1
    sync_edit_interval_s: _Seconds = 5
    sync_member_timeout_s: _Seconds = 20

    @field_validator("sync_command_role_ids", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @classmethod
    def load(cls) -> Self:
        """Read the settings, or raise one `SettingsError` that names each that is wrong."""
        try:
            return cls()
        except ValidationError as exc:
            wrong: dict[str, str] = {}
            for error in exc.errors(include_input=False, include_url=False):
                wrong.setdefault(str(error["loc"][0]).upper(), _plain(error["type"], error["msg"]))
            faults = "; ".join(f"{name} {fault}" for name, fault in wrong.items())
            raise SettingsError(f"settings: {faults}") from None

    @property
    def api_url(self) -> str:
        """The base of the site's API, ending in a slash."""
        return str(self.site_api_url).rstrip("/") + "/"

    @property
    def pace(self) -> PaceLimits:
        return PaceLimits(
            target_s=self.sync_target_s,
            first_items=self.sync_first_items,
            floor_items=self.sync_floor_items,
            max_items=self.sync_max_items,
            max_bytes=self.sync_max_bytes,
        )

    @property
    def patience(self) -> PatienceLimits:
        return PatienceLimits(
            max_failing=self.sync_max_failing,
            stall=timedelta(seconds=self.sync_stall_s),
            backoff=timedelta(seconds=self.sync_backoff_s),
            deadline=timedelta(seconds=self.sync_deadline_s),
        )


def _plain(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    return message.removeprefix("Value error, ").replace("Input should", "should")
