"""A private site: certificates of an authority of its own, on both sides, over real TLS."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from bot.exts.backend.sync._clock import SystemClock
from bot.exts.backend.sync._core.model.redaction import Redaction
from bot.exts.backend.sync._core.site import requests
from bot.exts.backend.sync._core.site.outcome import Answer, NoAnswer
from bot.exts.backend.sync._environment import Trust, way_to
from bot.exts.backend.sync._errors import SettingsError
from bot.exts.backend.sync._http.client import HttpSite


@dataclass
class Files:
    """An authority's certificate, one that it gave the bot, and that of somebody else."""

    authority: str
    certificate: str
    key: str
    both: str
    locked: str
    stranger: str


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Have an authority that nobody else knows."""
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Files:
    """Write certificates where settings name them."""
    ours = authority.issue_cert("bot@private.example")
    paths = {name: tmp_path / f"{name}.pem" for name in Files.__annotations__}
    authority.cert_pem.write_to_path(paths["authority"])
    ours.cert_chain_pems[0].write_to_path(paths["certificate"])
    ours.private_key_pem.write_to_path(paths["key"])
    ours.private_key_and_cert_chain_pem.write_to_path(paths["both"])
    paths["locked"].write_bytes(
        load_pem_private_key(ours.private_key_pem.bytes(), None).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password")
        )
    )
    trustme.CA().issue_cert("bot@elsewhere.example").private_key_and_cert_chain_pem.write_to_path(
        paths["stranger"]
    )
    return Files(**{name: str(path) for name, path in paths.items()})


@asynccontextmanager
async def private_site(authority: trustme.CA, *, asks: bool) -> AsyncIterator[str]:
    """Serve a site over TLS, which asks for a certificate or doesn't; yield its URL."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if asks:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED

    async def healthy(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application()
    app.router.add_get("/api/healthcheck", healthy)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}/api/"
    await runner.cleanup()


async def ask(url: str, trust: Trust) -> Answer | NoAnswer:
    """Ask the site whether it is well."""
    way = way_to(url, {}, trust=trust)
    site = HttpSite(
        base_url=url,
        token="key",
        deadline_s=5,
        max_answer_bytes=1024,
        redaction=Redaction(()),
        clock=SystemClock(),
        way=way,
    )
    async with site:
        return await site.send(requests.healthcheck(), request_id="r1-1")


async def test_a_private_authority_is_trusted_by_its_bundle(
    authority: trustme.CA, files: Files
) -> None:
    """And only by it: without the setting nothing is sent, the token least of all."""
    async with private_site(authority, asks=False) as url:
        known = await ask(url, Trust(authorities=files.authority))
        unknown = await ask(url, Trust())

    assert isinstance(known, Answer)
    assert known.status == 200
    assert isinstance(unknown, NoAnswer)


@pytest.mark.parametrize("parts", ["two files", "one file"])
async def test_a_site_that_asks_for_a_certificate_is_shown_it(
    authority: trustme.CA, files: Files, parts: str
) -> None:
    """With its key in a file of its own, or in the same; none, or a stranger's, is refused."""
    alone = Trust(authorities=files.authority)
    ours = {
        "two files": Trust(
            authorities=files.authority, certificate=files.certificate, key=files.key
        ),
        "one file": Trust(authorities=files.authority, certificate=files.both),
    }[parts]
    strangers = Trust(authorities=files.authority, certificate=files.stranger)
    async with private_site(authority, asks=True) as url:
        answers = [await ask(url, trust) for trust in (ours, alone, strangers)]

    assert [type(answer) for answer in answers] == [Answer, NoAnswer, NoAnswer]


async def test_a_certificate_is_for_this_site_alone(files: Files) -> None:
    """What else this process asks, as its dead man's switch, does not come with it."""
    ours = way_to(
        "https://site.example/", {}, trust=Trust(certificate=files.certificate, key=files.key)
    )

    assert ours.certificates is not way_to("https://site.example/", {}).certificates
    assert (
        way_to("https://a.example/", {}).certificates
        is way_to("https://b.example/", {}).certificates
    )


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (
            {"authorities": "/missing.pem"},
            "SITE_CA_BUNDLE /missing.pem can't be used: No such file",
        ),
        ({"authorities": "key"}, "can't be used: it holds no certificates"),
        ({"certificate": "/missing.pem"}, "SITE_CLIENT_CERT /missing.pem can't be used: No such"),
        ({"certificate": "certificate"}, "can't be used: it, or SITE_CLIENT_KEY, holds no certif"),
        ({"certificate": "certificate", "key": "stranger"}, "it, or SITE_CLIENT_KEY, holds no"),
        ({"certificate": "certificate", "key": "/missing.pem"}, "No such file or directory: "),
        ({"certificate": "certificate", "key": "locked"}, "with its key, without a password"),
    ],
)
def test_what_cannot_be_used_is_named_at_start(
    files: Files, names: dict[str, str], line: str
) -> None:
    """On one line, and not by an exception of a library's at the first request."""
    paths = {name: getattr(files, value, value) for name, value in names.items()}
    with pytest.raises(SettingsError) as raised:
        way_to("https://site.example/", {}, trust=Trust(**paths))

    assert line in str(raised.value)
    assert "\n" not in str(raised.value)
