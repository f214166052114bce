"""The way to the site, as the environment says: through which proxy, and whose certificates count.

A private site has certificates of an authority of its own, and may ask for one of ours: `Trust`.

httpx would read the same variables. It is told what they say instead, so that each that is wrong is
named at start, and a proxy in between is named when the site can't be reached.
"""

from __future__ import annotations

import functools
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from ._errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the site is reached; `proxy` is a URL, and `through` names it for people."""

    proxy: str | None
    through: str
    certificates: ssl.SSLContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Whom a private site's certificate must be from, and with which of ours the bot comes.

    Each is the path of a PEM file: `authorities` counts instead of the usual ones, `certificate`
    may hold its key as well, or that stands in `key`.
    """

    authorities: str | None = None
    certificate: str | None = None
    key: str | None = None


_NONE: Final = Trust()


def way_to(url: str, environ: Mapping[str, str], *, trust: Trust = _NONE) -> Way:
    """Return the way to a URL; raise `SettingsError` of a line that names the variable at fault."""
    certificates = _certificates(environ) if trust == _NONE else _private(trust, environ)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    name, proxy = _proxy(parts.scheme, environ)
    if proxy is None or _is_exempt(host, port, environ):
        return Way(proxy=None, through="", certificates=certificates)
    address = urlsplit(proxy).netloc.rpartition("@")[2]
    return Way(
        proxy=proxy,
        through=f"the proxy {address} of {name}",
        certificates=certificates,
    )


def _proxy(scheme: str, environ: Mapping[str, str]) -> tuple[str, str | None]:
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
    name = next((name for name in names if environ.get(name, "").strip()), "")
    if not name:
        return "", None
    value = environ[name].strip()
    proxy = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(proxy)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise SettingsError(f"{name} must be a proxy like http://host:3128: no other kind is used")
    return name, proxy


def _is_exempt(host: str, port: int, environ: Mapping[str, str]) -> bool:
    name = "no_proxy" if environ.get("no_proxy") else "NO_PROXY"
    entries = [entry.strip() for entry in environ.get(name, "").split(",")]
    return any(_is_meant(host, port, entry, name=name) for entry in entries if entry)


def _is_meant(host: str, port: int, entry: str, *, name: str) -> bool:
    if entry == "*":
        return True
    try:
        network = ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        pass
    else:
        try:
            return ipaddress.ip_address(host) in network
        except ValueError:
            return False
    try:
        parts = urlsplit(entry if "://" in entry else f"//{entry}")
        suffix, its_port = (parts.hostname or "").removeprefix("*").lstrip("."), parts.port
    except ValueError:
        suffix, its_port = "", None
    if not suffix or " " in suffix:
        raise SettingsError(f"{name} holds {entry[:40]!r}, which is no host, network or *")
    fits = host.lower() == suffix.lower() or host.lower().endswith(f".{suffix.lower()}")
    return fits and its_port in {None, port}


def _certificates(environ: Mapping[str, str], *, shared: bool = True) -> ssl.SSLContext:
    directory = environ.get("SSL_CERT_DIR") or None
    name = "SITE_CA_BUNDLE" if environ.get("SITE_CA_BUNDLE") else "SSL_CERT_FILE"
    file = environ.get(name) or None
    if directory is not None and not Path(directory).is_dir():
        raise SettingsError(f"SSL_CERT_DIR {directory} is no directory")
    if file is None and directory is None:
        return _usual_certificates() if shared else httpx.create_ssl_context(trust_env=False)
    try:
        return ssl.create_default_context(cafile=file, capath=directory)
    except (OSError, ValueError) as exc:
        is_read = isinstance(exc, ssl.SSLError | ValueError)
        reason = "it holds no certificates" if is_read else getattr(exc, "strerror", exc)
        raise SettingsError(f"{name} {file} can't be used: {reason}") from exc


def _private(trust: Trust, environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context of its own: a certificate of ours is for this site, and nobody else."""
    if trust.authorities is not None:
        environ = {"SITE_CA_BUNDLE": trust.authorities}
    context = _certificates(environ, shared=False)
    if trust.certificate is not None:
        try:
            context.load_cert_chain(trust.certificate, trust.key, password=_no_password)
        except (OSError, ValueError) as exc:
            reason = "it, or SITE_CLIENT_KEY, holds no certificate with its key, without a password"
            if not isinstance(exc, ssl.SSLError | ValueError):
                reason = f"{exc.strerror}: {exc.filename or trust.key or trust.certificate}"
            named = f"SITE_CLIENT_CERT {trust.certificate}"
            raise SettingsError(f"{named} can't be used: {reason}") from exc
    return context


def _no_password() -> str:
    # Else OpenSSL asks for it on a terminal that nobody looks at.
    return ""


@functools.cache  # the longest part of a load of the extension
def _usual_certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)
