"""The stand-in for a plain site: what it answers, what it costs, and who can be kept in step."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio

from sandbox.servers import PlainSite, Postgres
from tests.site_contract.exchanges import (
    EXCHANGES,
    ROLES,
    SHOWN_USERS,
    USERS,
    in_its_form,
    send,
    shortened,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

_HTML = "text/html; charset=utf-8"
_TIMEOUT_S = 60.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """Start one PostgreSQL for all tests of this module."""
    async with Postgres(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server


async def _fill(site: PlainSite) -> None:
    """Bring the site's database to the state before the first sample."""
    await site.seed(rows=USERS, roles=1)
    url = site.settings["DATABASE_URL"]
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute("DELETE FROM api_role")
        cursor = connection.cursor()
        await cursor.executemany(
            "INSERT INTO api_role (id, name, colour, permissions, position)"
            " VALUES (%(id)s, %(name)s, %(colour)s, %(permissions)s, %(position)s)",
            ROLES,
        )
        await cursor.executemany(
            "UPDATE api_user SET roles = %(roles)s WHERE id = %(id)s", SHOWN_USERS
        )


def _in_form(response: httpx.Response, like: dict[str, Any]) -> dict[str, Any]:
    answer = in_its_form(response)
    if answer["content_type"] == _HTML and answer["text"].strip().startswith("<!doctype html>"):
        return {**answer, "text": "(an HTML error page)"}
    return shortened(answer, like)


async def test_every_sample_is_answered_byte_for_byte(postgres: Postgres, tmp_path: Path) -> None:
    """In order, from the state of that day, the two pages of status 500 included.

    The samples are kept as values: their bytes are the compact ones that DRF writes.
    """
    database_url = await postgres.create_database("samples")
    async with PlainSite(tmp_path, database_url=database_url, costs=0) as site:
        await _fill(site)
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            responses = [
                send(sample, client, url=site.url, token=site.token) for sample in EXCHANGES
            ]

    wanted = [sample["response"] for sample in EXCHANGES]
    assert [
        (sample["name"], _in_form(response, like))
        for sample, response, like in zip(EXCHANGES, responses, wanted, strict=True)
    ] == [(sample["name"], sample["response"]) for sample in EXCHANGES]
    assert [
        response.content
        for response, like in zip(responses, wanted, strict=True)
        if like["json"] is not None and "(the rest left out)" not in like["json"]
    ] == [
        json.dumps(like["json"], separators=(",", ":"), ensure_ascii=False).encode()
        for like in wanted
        if like["json"] is not None and "(the rest left out)" not in like["json"]
    ]
