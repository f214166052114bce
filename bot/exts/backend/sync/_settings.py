"""The extension's settings, from the environment and `.env`."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Final, Self
from urllib.parse import unquote, urlsplit

from pydantic import (
    AfterValidator,
    Field,
    HttpUrl,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from ._core.model.redaction import Redaction
from ._core.policy.departures import DepartureLimits
from ._core.policy.pace import PaceLimits
from ._core.policy.request_backoff import PatienceLimits
from ._core.policy.rights import Right
from ._core.policy.state import StateLimits
from ._core.policy.sync_retries import BreakerLimits
from ._errors import SettingsError
from ._secret_files import SecretFileSettings


def _is_header_value(secret: SecretStr) -> SecretStr:
    value = secret.get_secret_value()
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("must be printable ASCII without blanks")
    return secret


_Snowflake = Annotated[int, Field(gt=0, lt=2**63)]
_Seconds = Annotated[float, Field(gt=0, le=86400)]
_Items = Annotated[int, Field(gt=0, le=100_000)]
_Roles = Annotated[tuple[_Snowflake, ...], NoDecode]
_RolesIfAny = Annotated[tuple[_Snowflake, ...] | None, NoDecode]
_LOCAL: Final = (".local", ".internal", ".localhost", ".lan", ".home.arpa")


class SyncSettings(SecretFileSettings):
    """What the extension needs to know; each is the environment variable of its name in capitals.

    Times are in seconds, sizes in rows or bytes.
    """

    secrets_in_files = ("site_api_token", "sync_state_url", "sync_ping_url")
    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )

    guild_id: _Snowflake
    site_api_url: HttpUrl
    site_api_token: Annotated[SecretStr, AfterValidator(_is_header_value)]
    site_ca_bundle: str | None = None
    site_client_cert: str | None = None
    site_client_key: str | None = None
    mod_log_channel_id: _Snowflake
    alert_role_id: _Snowflake | None = None
    sync_command_role_ids: _Roles = ()
    sync_look_role_ids: _RolesIfAny = None
    sync_operate_role_ids: _RolesIfAny = None
    sync_approve_role_ids: _RolesIfAny = None

    sync_at_start: bool = True
    sync_target_s: _Seconds = 0.5
    sync_first_items: _Items = 100
    sync_floor_items: _Items = 10
    sync_max_items: _Items = 1000
    sync_max_bytes: Annotated[int, Field(ge=1024, le=100 * 1024 * 1024)] = 256 * 1024
    sync_page_items: Annotated[int, Field(gt=0, le=10_000)] = 2500
    sync_deadline_s: _Seconds = 30
    sync_max_answer_bytes: Annotated[int, Field(ge=1024, le=1024**3)] = 16 * 1024 * 1024
    sync_max_failing: Annotated[int, Field(gt=0, le=1000)] = 5
    sync_stall_s: _Seconds = 600
    sync_backoff_s: _Seconds = 1
    sync_edit_interval_s: _Seconds = 5
    sync_member_cache: bool = True
    sync_member_timeout_s: _Seconds = 20
    sync_parked_min: Annotated[int, Field(ge=0, le=1_000_000)] = 20
    sync_parked_part: Annotated[float, Field(ge=0, le=1)] = 0.1
    sync_doubtful_recheck_s: _Seconds = 120
    sync_departures_min: Annotated[int, Field(ge=0, le=1_000_000)] = 500
    sync_departures_part: Annotated[float, Field(ge=0, le=1)] = 0.05

    sync_max_waiting: Annotated[int, Field(gt=0, le=10_000_000)] = 100_000
    sync_drift_every_s: Annotated[float, Field(ge=0, le=30 * 86400)] = 6 * 3600
    sync_drift_by_digests_every_s: Annotated[float, Field(ge=0, le=30 * 86400)] = 300

    sync_state_url: SecretStr = SecretStr("sqlite:///var/sync.db")
    sync_lease_s: _Seconds = 90
    sync_breaker_threshold: Annotated[int, Field(gt=0, le=10**12)] = 3
    sync_first_retry_s: _Seconds = 60
    sync_second_retry_s: _Seconds = 300
    sync_breaker_open_s: _Seconds = 900
    sync_breaker_max_open_s: _Seconds = 86400

    sync_ping_url: SecretStr | None = None

    site_api_token_file: str | None = None
    sync_state_url_file: str | None = None
    sync_ping_url_file: str | None = None

    @field_validator("site_api_url")
    @classmethod
    def _is_bare(cls, url: HttpUrl) -> HttpUrl:
        if url.username or url.password:
            raise ValueError("must hold no user or password: SITE_API_TOKEN opens the site")
        if url.query is not None or url.fragment is not None:
            raise ValueError("must end with its path, like https://host/api/")
        return url

    @field_validator("sync_ping_url")
    @classmethod
    def _is_http(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            try:
                TypeAdapter(HttpUrl).validate_python(url.get_secret_value())
            except ValidationError:  # its own text may hold the URL
                raise ValueError("must be a URL like https://host/path") from None
        return url

    @model_validator(mode="after")
    def _trust_is_of_tls(self) -> Self:
        if self.site_client_key is not None and self.site_client_cert is None:
            raise ValueError("SITE_CLIENT_KEY is of no use without SITE_CLIENT_CERT")
        is_private = self.site_ca_bundle is not None or self.site_client_cert is not None
        if is_private and self.site_api_url.scheme != "https":
            raise ValueError("SITE_CA_BUNDLE and SITE_CLIENT_CERT need a SITE_API_URL of https://")
        return self

    @model_validator(mode="after")
    def _lease_outlives_a_request(self) -> Self:
        # Nothing is sent with less of the lease left than a request may take, so it would be never.
        if self.sync_lease_s < self.sync_deadline_s * 1.5:
            raise ValueError("SYNC_LEASE_S must be at least 1.5 times SYNC_DEADLINE_S")
        return self

    @field_validator(
        *("sync_command_role_ids", "sync_look_role_ids"),
        *("sync_operate_role_ids", "sync_approve_role_ids"),
        mode="before",
    )
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
        except (OSError, UnicodeDecodeError) as exc:
            raise SettingsError(f".env can't be read: {exc}") from exc
        except ValidationError as exc:
            wrong: dict[str, str] = {}
            for error in exc.errors(include_input=False, include_url=False):
                name = str(error["loc"][0]).upper() if error["loc"] else ""
                wrong.setdefault(name, _plain(error["type"], error["msg"]))
            faults = "; ".join(f"{name} {fault}".strip() for name, fault in wrong.items())
            raise SettingsError(f"settings: {faults}") from None

    @property
    def api_url(self) -> str:
        """The base of the site's API, ending in a slash."""
        return str(self.site_api_url).rstrip("/") + "/"

    def roles_that_may(self, right: Right) -> frozenset[int]:
        """Return the roles that have a right, beside administrators, who have all of them.

        Whoever may operate or approve may look at what that is about.
        """
        given = {
            Right.LOOK: self.sync_look_role_ids,
            Right.OPERATE: self.sync_operate_role_ids,
            Right.APPROVE: self.sync_approve_role_ids,
        }
        roles = {
            one: frozenset(self.sync_command_role_ids if ids is None else ids)
            for one, ids in given.items()
        }
        return roles[right] if right is not Right.LOOK else frozenset().union(*roles.values())

    @property
    def shows_token(self) -> bool:
        """Whether the token goes over a network in the clear that others may listen to."""
        host = (self.site_api_url.host or "").strip("[]")
        try:
            is_local = not ip_address(host).is_global
        except ValueError:
            is_local = "." not in host or host.endswith(_LOCAL)
        return self.site_api_url.scheme == "http" and not is_local

    def redaction(self, *others: str) -> Redaction:
        """Return what takes these settings' secrets, and others, out of what comes from outside."""
        secrets = [self.site_api_token.get_secret_value(), *others]
        with suppress(ValueError):  # no URL, as the store will say
            password = urlsplit(self.sync_state_url.get_secret_value()).password or ""
            secrets += [password, unquote(password)]
        return Redaction(secrets)

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
            parked_min=self.sync_parked_min,
            parked_part=self.sync_parked_part,
        )

    @property
    def departures(self) -> DepartureLimits:
        return DepartureLimits(minimum=self.sync_departures_min, part=self.sync_departures_part)

    @property
    def state(self) -> StateLimits:
        return StateLimits(
            breaker=BreakerLimits(
                threshold=self.sync_breaker_threshold,
                first_retry=timedelta(seconds=self.sync_first_retry_s),
                second_retry=timedelta(seconds=self.sync_second_retry_s),
                open_for=timedelta(seconds=self.sync_breaker_open_s),
                max_open=timedelta(seconds=self.sync_breaker_max_open_s),
            ),
            default_items=self.sync_max_items,
        )


def _plain(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    return message.removeprefix("Value error, ").replace("Input should", "should")
