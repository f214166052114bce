"""Settings of which each secret may stand in a file, as container platforms hand them out."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import field_validator, model_validator
from pydantic_settings import BaseSettings


class SecretFileSettings(BaseSettings):
    """Beside each field named in `secrets_in_files` a class has `<name>_file`, a path."""

    secrets_in_files: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, values: dict[str, object]) -> dict[str, object]:
        """Take secrets from files, where those are named instead."""
        for name in cls.secrets_in_files:
            variable, path = f"{name.upper()}_FILE", values.get(f"{name}_file")
            if not path:
                continue
            if values.get(name):
                raise ValueError(f"{name.upper()} and {variable} are both set")
            try:
                values[name] = Path(str(path)).read_text("utf-8")
            except (OSError, ValueError) as exc:
                reason = getattr(exc, "strerror", None) or "not a text file"
                raise ValueError(f"{variable} {path} can't be read: {reason}") from exc
        return values

    @field_validator("*", mode="before")
    @classmethod
    def _strip(cls, value: object) -> object:
        # A file that holds a secret ends in a newline more often than not.
        return value.strip() if isinstance(value, str) else value
