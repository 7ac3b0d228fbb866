"""The pages over HTTP: what they may load, what is public, and that only listed files are ever served."""

from __future__ import annotations

import http.client
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI

from redraft import assets
from redraft.scripted import Reply
from server import web
from server.routes import web as routes
from tests.conftest import Script
from tests.server.conftest import Serve

OURS = sorted(path for path in (*web.ROOM.iterdir(), assets.MATHTEXT) if path.suffix in web.TYPES)
installed = pytest.mark.skipif(assets.flaw() is not None, reason=f"the web libraries are not installed: {assets.HOW}")


@asynccontextmanager
async def of(pages: web.Pages) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(docs_url=None)
    app.include_router(routes.playground(pages))
    app.include_router(routes.docs(pages))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        yield client


def directives(policy: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in policy.split(";"))}


@installed
async def test_the_playground_may_load_nothing_from_elsewhere_and_run_nothing_inline() -> None:
    async with of(web.load()) as client:
        reply = await client.get("/")
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["x-content-type-options"] == "nosniff"
    policy = directives(reply.headers["content-security-policy"])
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == ["'none'"]
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == ["'self'"]
    assert policy["require-trusted-types-for"] == ["'script'"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", reply.text)


@installed
async def test_every_file_that_a_page_names_is_served_with_its_type() -> None:
    pages = web.load()
    named = [name for page in (pages.playground, pages.docs) for name in re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())]
    modules = {name: pages.files[name].body.decode() for name in pages.files if name.endswith(".js") and not name.startswith("lib/")}
    named += [f"web/{name.removeprefix('./')}" for text in modules.values() for name in re.findall(r' from "([^"]+)"', text)]
    assert len(named) > 15
    async with of(pages) as client:
        for name in named:
            reply = await client.get(f"/{name}")
            assert (name, reply.status_code) == (name, 200)
            assert reply.headers["content-type"] == web.TYPES[Path(name).suffix]
            assert reply.headers["content-security-policy"] == web.SHUT


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_files_name_no_other_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert re.findall(r"(?:https?:)?//[\w.-]+\.\w+", text) == []


@installed
def test_no_style_sheet_loads_from_elsewhere() -> None:
    sheets = {name: file.body.decode() for name, file in web.load().files.items() if name.endswith(".css")}
    assert len(sheets) >= 4
    for text in sheets.values():
        assert "@import" not in text
        assert [url for url in re.findall(r"url\(\s*[\"']?([^)\"']+)", text) if "//" in url.partition(",")[0]] == []


@installed
async def test_a_file_that_did_not_change_is_not_sent_again() -> None:
    async with of(web.load()) as client:
        first = await client.get("/web/app.js")
        again = await client.get("/web/app.js", headers={"If-None-Match": first.headers["etag"]})
        other = await client.get("/web/view.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert other.status_code == 200


NOT_LISTED = (
    "/web/",
    "/web/nothing.js",
    "/web/__init__.py",
    "/web/../auth.py",
    "/web/%2e%2e/auth.py",
    "/web/..%2fauth.py",
    "/web/lib/../../auth.py",
    "/web//etc/passwd",
    "/web/lib/redraft.json",
    "/web/app.js%00",
    "/web/index.html",
)


def test_only_listed_files_are_served(serve: Serve) -> None:
    served = urlsplit(serve(Script([Reply("x")])).url)
    connection = http.client.HTTPConnection(served.hostname or "", served.port)
    for path in NOT_LISTED:
        connection.request("GET", path)
        reply = connection.getresponse()
        body = reply.read()
        assert (path, reply.status) == (path, 404)
        assert b"import" not in body
        assert b"root:" not in body
    connection.close()


async def test_the_page_is_public_and_all_that_says_something_is_not(serve: Serve) -> None:
    served = serve(Script([Reply("x")]), api_key=["right"])
    async with served.client() as client:
        assert (await client.get("/")).status_code == 200
        for path in sorted(web.load().paths)[:5]:
            assert (await client.get(path)).status_code == 200
        for path in ("/web/nothing.js", "/docs", "/openapi.json", "/v1/models", "/web", "/web/"):
            assert (await client.get(path)).status_code == 401, path
        assert (await client.get("/v1/models", headers={"Authorization": "Bearer right"})).status_code == 200


async def test_without_the_libraries_the_pages_say_how_to_get_them(tmp_path: Path) -> None:
    pages = web.load(tmp_path / "nothing")
    assert pages.paths == {"/"}
    async with of(pages) as client:
        for path in ("/", "/docs"):
            reply = await client.get(path)
            assert reply.status_code == 200
            assert f"<code>{assets.HOW}</code>" in reply.text
            assert directives(reply.headers["content-security-policy"])["default-src"] == ["'none'"]
        assert (await client.get("/web/app.js")).status_code == 404


@installed
async def test_the_api_docs_come_from_our_own_origin(serve: Serve) -> None:
    async with serve(Script([Reply("x")])).client() as client:
        page = await client.get("/docs")
        assert "//" not in page.text
        assert directives(page.headers["content-security-policy"])["script-src"] == ["'self'"]
        assert (await client.get("/redoc")).status_code == 404
        assert "/solve" in (await client.get("/openapi.json")).json()["paths"]
