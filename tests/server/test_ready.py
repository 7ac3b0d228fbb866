"""Where the server says it can be reached."""

from __future__ import annotations

import pytest

from server.ready import address


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:8000"),
        (None, False, "http://127.0.0.1:8000"),
        ("0.0.0.0", False, "http://127.0.0.1:8000"),
        ("::", False, "http://127.0.0.1:8000"),
        ("::1", False, "http://[::1]:8000"),
        ("models.lan", True, "https://models.lan:8000"),
    ],
)
def test_an_address_that_can_be_opened(host: str | None, tls: bool, url: str) -> None:
    assert address(host, 8000, tls=tls) == url
