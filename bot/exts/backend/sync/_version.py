"""The version of the extension, which may be copied somewhere without its package's metadata."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
