"""Keys, the file they are kept in, the ring that follows it, and what a key has left."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from redraft.errors import Overloaded
from server.keys import key as keys
from server.keys import ring as rings
from server.keys.key import Key, KeyLimits, Scope
from server.keys.meter import Meter
from server.keys.ring import Keyring
from server.keys.salt import salt_of
from server.keys.store import KeyFile, KeyFileBroken, UnknownKey


def made(**more: Any) -> tuple[Key, str]:
    identity, secret = keys.new_secret()
    return Key(identity, "somebody", keys.digest(secret), frozenset({Scope.INFER}), **more), secret


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "home" / "keys.sqlite")


@pytest.fixture
def always_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rings, "LOOK_S", 0.0)


def test_a_secret_is_256_random_bits_behind_an_id() -> None:
    found = [keys.new_secret() for _ in range(50)]
    assert len({secret for _, secret in found}) == 50
    for identity, secret in found:
        assert keys.id_of(secret) == identity
        assert len(secret.removeprefix(f"rd-{identity}-")) == 43
    assert keys.id_of("sesame") is None


def test_the_file_keeps_everything_but_the_secret(file: KeyFile) -> None:
    key, secret = made(limits=KeyLimits(60, None, 4), models=frozenset({"cft"}), created=5.0, expires=9.0)
    file.add(key)
    assert file.read() == [key]
    assert key.digest == hashlib.sha256(secret.encode()).digest()
    assert secret.rsplit("-", 1)[1].encode() not in file.path.read_bytes()
    assert file.path.stat().st_mode & 0o077 == 0
    assert key.digest.hex() not in repr(key)
    assert repr(key.digest) not in repr(key)


def test_a_key_is_revoked_once_and_for_good(file: KeyFile) -> None:
    key, _ = made()
    file.add(key)
    first = file.revoke(key.id)
    assert first.fault() == "this API key has been revoked"
    assert file.revoke(key.id).revoked == first.revoked
    with pytest.raises(UnknownKey, match="there is no key 'nobody'"):
        file.revoke("nobody")


def test_a_file_that_is_none_is_said_so(file: KeyFile) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(b"not a database, but long enough to look like one" * 100)
    with pytest.raises(KeyFileBroken, match=r"keys\.sqlite"):
        file.read()
    newer = KeyFile(file.path.with_name("newer.sqlite"))
    newer.add(made()[0])
    with sqlite3.connect(newer.path) as database:
        database.execute("PRAGMA user_version = 7")
    database.close()
    with pytest.raises(KeyFileBroken, match="version 7"):
        newer.read()


@pytest.mark.parametrize(
    ("held", "opens"),
    [
        ({Scope.INFER}, {Scope.INFER}),
        ({Scope.EVAL}, {Scope.INFER, Scope.EVAL}),
        ({Scope.METRICS}, {Scope.METRICS}),
        ({Scope.EVAL, Scope.METRICS}, {Scope.INFER, Scope.EVAL, Scope.METRICS}),
        ({Scope.ADMIN}, set(Scope)),
        (set(), set()),
    ],
)
def test_scopes(held: set[Scope], opens: set[Scope]) -> None:
    key = Key("x", "x", b"", frozenset(held))
    assert {scope for scope in Scope if key.may(scope)} == opens


def test_a_list_of_models_holds_aliases_and_their_revisions() -> None:
    key, _ = made(models=frozenset({"cft", "base"}))
    assert [key.may_use(name) for name in ("cft", "cft@0123456789ab", "base", "other", "cftx", "")] == [
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert made()[0].may_use("anything")


@pytest.mark.usefixtures("always_looking")
def test_a_running_ring_follows_the_file(file: KeyFile) -> None:
    ring = Keyring([], file.path)
    assert not ring.is_asked
    (key, secret), (other, _) = made(), made()
    file.add(key)
    assert ring.is_asked
    assert ring.find(secret) == key
    assert not ring.is_shared
    file.add(other)
    assert ring.is_asked
    assert ring.is_shared
    file.revoke(key.id)
    assert ring.is_asked
    found = ring.find(secret)
    assert found is not None
    assert found.fault() == "this API key has been revoked"
    file.revoke(other.id)
    assert ring.is_asked, "revoking the last key must not open the server"


@pytest.mark.usefixtures("always_looking")
def test_a_ring_whose_file_breaks_keeps_what_it_knew(file: KeyFile, caplog: pytest.LogCaptureFixture) -> None:
    key, secret = made()
    file.add(key)
    ring = Keyring([], file.path)
    file.path.write_bytes(b"junk" * 4000)
    assert ring.is_asked
    assert ring.find(secret) == key
    assert "the keys that were read before go on to hold" in caplog.text


def test_a_closed_ring_asks_even_without_any_key(tmp_path: Path) -> None:
    assert Keyring([], tmp_path / "none", closed=True).is_asked
    assert not Keyring([], tmp_path / "none").is_asked


def test_a_secret_is_found_by_all_of_it(file: KeyFile) -> None:
    key, secret = made()
    file.add(key)
    ring = Keyring(["sesame"], file.path)
    assert ring.find(secret) == key
    last = "A" if secret[-1] != "A" else "B"
    for wrong in (secret[:-1] + last, secret + "x", secret.upper(), key.id, "", "sesam", "\ud800"):
        assert ring.find(wrong) is None
    fixed = ring.find("sesame")
    assert fixed is not None
    assert fixed.may(Scope.ADMIN)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def refused(ask: Callable[[], None]) -> float | None:
    """Seconds to wait, or None when it was let in."""
    try:
        ask()
    except Overloaded as error:
        return error.retry_after_s
    return None


def test_requests_flow_back_evenly() -> None:
    clock = Clock()
    meter = Meter(KeyLimits(requests=30), clock)
    assert [refused(meter.request) for _ in range(30)] == [None] * 30
    assert refused(meter.request) == 2
    clock.now += 2
    assert refused(meter.request) is None
    assert refused(meter.request) == 2


def test_tokens_are_reserved_and_then_settled() -> None:
    clock = Clock()
    meter = Meter(KeyLimits(tokens=600), clock)
    meter.reserve(5000)
    meter.settle(5000, 610)
    assert refused(lambda: meter.reserve(1)) == 2  # 10 tokens are owed, and one must be there; 10 flow back a second
    clock.now += 2
    assert refused(lambda: meter.reserve(1)) is None


def test_loops_at_once() -> None:
    meter = Meter(KeyLimits(parallel=1))
    with meter.loop(), pytest.raises(Overloaded, match="1 loops at once"), meter.loop():
        pass
    with meter.loop():
        pass


def test_each_key_has_its_salt_the_same_every_time() -> None:
    (one, _), (two, _) = made(), made()
    assert salt_of(one) == salt_of(one) != salt_of(two)
    assert salt_of(one, "client's") not in {salt_of(one), salt_of(two, "client's"), "client's"}
    assert one.digest.hex() not in salt_of(one)
