"""The way to the site as the environment says: each variable that is wrong is named."""

from pathlib import Path

import certifi
import pytest

from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.outcome import Lost, NoAnswer
from bot.exts.backend.sync._environment import way_to
from bot.exts.backend.sync._errors import SettingsError
from tests.bot.exts.backend.sync import sites

SITE = "http://site.example:8000/api/"
PROXY = "http://proxy.example:3128"
OF_HTTP = "the proxy proxy.example:3128 of HTTP_PROXY"


@pytest.mark.parametrize(
    ("environ", "through"),
    [
        ({}, ""),
        ({"HTTP_PROXY": PROXY}, OF_HTTP),
        ({"http_proxy": PROXY}, "the proxy proxy.example:3128 of http_proxy"),
        ({"HTTPS_PROXY": PROXY}, ""),
        ({"ALL_PROXY": "proxy.example:3128"}, "the proxy proxy.example:3128 of ALL_PROXY"),
        ({"HTTP_PROXY": " ", "ALL_PROXY": ""}, ""),
        ({"HTTP_PROXY": "http://u:s3cret@p:1"}, "the proxy p:1 of HTTP_PROXY"),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "site.example"}, ""),
        ({"HTTP_PROXY": PROXY, "no_proxy": ".example"}, ""),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "*.example, other"}, ""),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "*"}, ""),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "site.example:8000"}, ""),
        (
            {"HTTP_PROXY": PROXY, "NO_PROXY": "site.example:80"},
            OF_HTTP,
        ),
        (
            {"HTTP_PROXY": PROXY, "NO_PROXY": "mysite.example, 10.0.0.0/8"},
            OF_HTTP,
        ),
        ({"HTTPS_PROXY": "socks5://p:1"}, ""),
    ],
)
def test_the_proxy_in_between_is_known(environ: dict[str, str], through: str) -> None:
    """As other programs read these variables; without the proxy's own password."""
    assert way_to(SITE, environ).through == through


def test_networks_are_exempt_by_address() -> None:
    """As in many a company's NO_PROXY."""
    environ = {"HTTP_PROXY": PROXY, "NO_PROXY": "10.0.0.0/8,::1"}

    assert way_to("http://10.1.2.3/api/", environ).proxy is None
    assert way_to("http://[::1]:8000/api/", environ).proxy is None
    assert way_to("http://11.1.2.3/api/", environ).proxy == PROXY


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"HTTP_PROXY": "garbage://"}, "HTTP_PROXY must be a proxy like http://host:3128"),
        ({"HTTP_PROXY": "http://p:99999"}, "HTTP_PROXY must be a proxy like http://host:3128"),
        ({"all_proxy": "socks5://p:1080"}, "all_proxy must be a proxy like http://host:3128"),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "a b"}, "NO_PROXY holds 'a b', which is no host"),
        ({"HTTP_PROXY": PROXY, "NO_PROXY": "http://["}, "NO_PROXY holds 'http://[', which is no"),
        ({"SSL_CERT_FILE": "/missing.pem"}, "SSL_CERT_FILE /missing.pem can't be used: No such"),
        ({"SSL_CERT_FILE": __file__}, f"SSL_CERT_FILE {__file__} can't be used: it holds no cert"),
        ({"SSL_CERT_DIR": "/missing"}, "SSL_CERT_DIR /missing is no directory"),
    ],
)
def test_what_is_wrong_is_named(environ: dict[str, str], line: str) -> None:
    """At start, on one line, and not by an exception of a library's at the first request."""
    with pytest.raises(SettingsError) as caught:
        way_to(SITE, environ)

    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_the_certificates_are_those_that_are_named(tmp_path: Path) -> None:
    """A company's own; else those that come with the HTTP client."""
    own = tmp_path / "own.pem"
    own.write_bytes(Path(certifi.where()).read_bytes().split(b"\n\n# Issuer")[0])

    def count(**environ: str) -> int:
        return len(way_to(SITE, environ).certificates.get_ca_certs())

    assert count(SSL_CERT_FILE=str(own)) < count()
    assert count(SSL_CERT_DIR=str(tmp_path)) == 0


async def test_a_proxy_that_is_away_is_named() -> None:
    """Or an operator looks for what is wrong at the site."""
    async with sites.way_to(SITE, environ={"HTTP_PROXY": "http://127.0.0.1:9"}) as way:
        answer = await way.send(requests.healthcheck(), request_id="run-1")

    assert isinstance(answer, NoAnswer)
    assert (answer.cause, answer.detail) == (
        Lost.UNREACHABLE,
        "ConnectError, through the proxy 127.0.0.1:9 of HTTP_PROXY",
    )
