"""Every check refuses what it is there for, by its name, before anything is loaded; what passes is our own copy."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from redraft import calibration
from redraft.calibration import Judged
from server.adapters.admission import PICKLES
from server.adapters.errors import Check, Refused
from server.adapters.names import check_alias
from server.adapters.store import CONFIG, MANIFEST, WEIGHTS, Store, content_sha256
from tests.server.adapters.making import PEFT, Home, Q, adapter, save, weights, with_manifest


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def refused(home: Home, source: Path | str, **rules: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        home.gate(**rules).admit(str(source))
    left = list(home.store.root.iterdir()) if home.store.root.is_dir() else []
    assert left == [], "a refused adapter leaves nothing"
    assert caught.value.status == 400
    assert caught.value.type == "adapter_refused"
    assert caught.value.param == caught.value.check
    return caught.value


def test_a_good_adapter_becomes_our_own_read_only_copy(home: Home) -> None:
    source = with_manifest(adapter(home.inbox / "good"), base=home.identity)
    admitted = home.gate().admit(str(source))
    assert admitted.path == home.store.path(admitted.sha256)
    assert admitted.sha256 == content_sha256(source)
    assert admitted.manifest is not None
    assert admitted.manifest["method"] == "cft"
    assert {entry.name for entry in admitted.path.iterdir()} == {CONFIG, WEIGHTS, MANIFEST}
    assert not any(entry.stat().st_mode & 0o222 for entry in admitted.path.iterdir())


def test_a_critics_calibration_comes_along(home: Home) -> None:
    source = adapter(home.inbox / "critic")
    report = calibration.fit([Judged(0.9, True), Judged(0.2, False)] * 20)
    (source / calibration.FILE).write_text(json.dumps(report.as_json()), encoding="utf-8")
    found = home.gate().admit(str(source)).calibration
    assert found is not None
    assert found["tpr"] == report.calibration.tpr
    for wrong in ('{"tpr": 7}', "[]", "{"):
        (source / calibration.FILE).write_text(wrong, encoding="utf-8")
        with pytest.raises(Refused, match="calibrate"):
            home.gate().admit(str(source))


def test_relative_sources_are_looked_for_in_the_roots(home: Home) -> None:
    adapter(home.inbox / "good")
    assert home.gate().admit("good").manifest is None


def test_bf16_is_read(home: Home) -> None:
    assert home.gate().admit(str(adapter(home.inbox / "bf16", kind="BF16")))
    broken = adapter(home.inbox / "nan16", tensors=weights(float("nan")), kind="BF16")
    with pytest.raises(Refused, match="not finite"):
        home.gate().admit(str(broken))


@pytest.mark.parametrize("name", ["", "a b", "../x", "a/b", "x@1234", "cft:loop", ".hidden", "tail.", "é", "x" * 65])
def test_names(name: str) -> None:
    with pytest.raises(Refused, match="check `name`"):
        check_alias(name)


@pytest.mark.parametrize("name", ["a", "cft", "Critic-7.b_2", "x" * 64])
def test_good_names(name: str) -> None:
    check_alias(name)


@pytest.mark.parametrize("source", ["", " ", "../outside", "absent", "good/../../outside", "nul\0"])
def test_sources_outside_or_absent(home: Home, source: str) -> None:
    adapter(home.root / "outside")
    assert refused(home, source).check is Check.CONTAINMENT
    assert refused(home, home.root / "outside").check is Check.CONTAINMENT


def test_links_that_lead_out(home: Home) -> None:
    outside = adapter(home.root / "outside")
    (home.inbox / "link").symlink_to(outside)
    assert refused(home, home.inbox / "link").check is Check.CONTAINMENT
    inner = adapter(home.inbox / "inner")
    (inner / WEIGHTS).unlink()
    (inner / WEIGHTS).symlink_to(outside / WEIGHTS)
    assert refused(home, inner).check is Check.CONTAINMENT


@pytest.mark.parametrize("suffix", sorted(PICKLES))
def test_pickles_are_never_opened(home: Home, suffix: str) -> None:
    folder = adapter(home.inbox / "pickled")
    (folder / f"adapter_model{suffix}").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    assert refused(home, folder).check is Check.FORMAT


def test_missing_and_special_files(home: Home) -> None:
    folder = adapter(home.inbox / "a")
    (folder / WEIGHTS).unlink()
    assert refused(home, folder).check is Check.FORMAT
    os.mkfifo(folder / WEIGHTS)
    assert refused(home, folder).check is Check.FORMAT
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).mkdir()
    assert refused(home, folder).check is Check.FORMAT


def file(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


NAME = f"{Q}.lora_A.weight"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        struct.pack("<Q", 1 << 60) + b"{}",
        file(b"not json"),
        file([1]),
        file({NAME: {"dtype": "F32", "shape": [2, 8]}}),
        file({NAME: {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}}, b"1234"),
        file({NAME: {"dtype": "F32", "shape": [2, 8], "data_offsets": [0, 64]}}, b"x" * 63),
        file({NAME: {"dtype": "F32", "shape": [-2, -8], "data_offsets": [0, 64]}}, b"x" * 64),
        file({NAME: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"x" * 64),
        file({key: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for key in (NAME, "b")}, b"x" * 4),
        file(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_safetensors_file(home: Home, content: bytes) -> None:
    folder = adapter(home.inbox / "a")
    (folder / WEIGHTS).write_bytes(content)
    assert refused(home, folder).check is Check.FORMAT


def test_too_large(home: Home) -> None:
    assert refused(home, adapter(home.inbox / "a"), max_bytes=400).check is Check.SIZE


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}}, Check.CONFIG),
        ({"auto_map": {"AutoModel": "evil.Model"}}, Check.CONFIG),
        ({"use_dora": True}, Check.CONFIG),
        ({"bias": "all"}, Check.CONFIG),
        ({"modules_to_save": ["lm_head"]}, Check.CONFIG),
        ({"peft_type": "ADALORA"}, Check.CONFIG),
        ({"init_lora_weights": "pissa"}, Check.CONFIG),
        ({"lora_alpha": float("nan")}, Check.CONFIG),
        ({"lora_alpha": None}, Check.CONFIG),
        ({"rank_pattern": {"(a+)+$": 2}}, Check.CONFIG),
        ({"alpha_pattern": {"q_proj": float("inf")}}, Check.CONFIG),
        ({"r": 0}, Check.RANK),
        ({"r": "2"}, Check.RANK),
        ({"r": 4}, Check.RANK),
        ({"rank_pattern": {"q_proj": 4}}, Check.RANK),
        ({"target_modules": ["q_proj"]}, Check.TARGETS),
        ({"target_modules": []}, Check.TARGETS),
    ],
)
def test_configurations(home: Home, changes: dict[str, Any], check: Check) -> None:
    assert refused(home, adapter(home.inbox / "a", config=PEFT | changes)).check is check


AWAKE = PEFT | {"alora_invocation_tokens": [7, 99]}


def test_an_activated_adapter_is_admitted_where_the_engine_serves_it(home: Home) -> None:
    admitted = home.gate().admit(str(adapter(home.inbox / "a", config=AWAKE)))
    assert (admitted.activated, admitted.fallback) == (True, None)
    plain = home.gate().admit(str(adapter(home.inbox / "b", config=PEFT | {"alora_invocation_tokens": None})))
    assert (plain.activated, plain.fallback) == (False, None)


@pytest.mark.parametrize("tokens", [[], [7, 100], [-1], [True], ["7"], "7", 7, [7] * 1025])
def test_invocation_tokens_that_no_prompt_could_hold(home: Home, tokens: object) -> None:
    folder = adapter(home.inbox / "a", config=PEFT | {"alora_invocation_tokens": tokens})
    adapter(folder / "plain")
    assert refused(home, folder).check is Check.ACTIVATION


def test_an_activated_adapter_is_no_plain_one(home: Home) -> None:
    folder = adapter(home.inbox / "a", config=AWAKE)
    told = refused(home, folder, no_activation="this is vLLM 9")
    assert told.check is Check.ACTIVATION
    assert "this is vLLM 9" in told.message
    assert refused(home, adapter(home.inbox / "b", config=AWAKE | {"task_type": "SEQ_CLS"})).check is Check.ACTIVATION


def test_the_plain_adapter_beside_an_activated_one_stands_in_and_says_why(home: Home) -> None:
    folder = adapter(home.inbox / "a", config=AWAKE)
    beside = adapter(folder / "plain", 2.0)
    assert home.gate().admit(str(folder)).sha256 == content_sha256(folder)
    admitted = home.gate(no_activation="this is vLLM 9").admit(str(folder))
    assert admitted.sha256 == content_sha256(beside)
    assert not admitted.activated
    assert admitted.fallback is not None
    assert "this is vLLM 9" in admitted.fallback


def test_what_stands_in_passes_the_same_checks(home: Home, tmp_path: Path) -> None:
    folder = adapter(home.inbox / "a", config=AWAKE)
    (folder / "plain").symlink_to(adapter(tmp_path / "elsewhere"))
    assert refused(home, folder, no_activation="this is vLLM 9").check is Check.CONTAINMENT
    (folder / "plain").unlink()
    adapter(folder / "plain", config=AWAKE)
    assert refused(home, folder, no_activation="this is vLLM 9").check is Check.ACTIVATION


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_configurations_that_are_no_object(home: Home, text: str) -> None:
    folder = adapter(home.inbox / "a")
    (folder / CONFIG).write_text(text)
    assert refused(home, folder).check is Check.CONFIG


def test_a_pattern_may_stand_for_target_modules_and_ranks_may_differ(home: Home) -> None:
    mixed = weights() | {f"{Q}.lora_A.weight": ([1, 8], [1.0] * 8), f"{Q}.lora_B.weight": ([8, 1], [1.0] * 8)}
    config = PEFT | {"target_modules": "all-linear", "rank_pattern": {"self_attn.q_proj": 1}}
    assert home.gate().admit(str(adapter(home.inbox / "a", config=config, tensors=mixed)))


def test_rank_over_the_servers(home: Home) -> None:
    folder = adapter(home.inbox / "a", config=PEFT | {"r": 4}, tensors=weights(rank=4))
    assert refused(home, folder, max_rank=3).check is Check.RANK
    assert home.gate(max_rank=4).admit(str(folder))


def shaped(**changes: Any) -> dict[str, Any]:
    return {name: tensor for name, tensor in (weights() | changes).items() if tensor is not None}


@pytest.mark.parametrize(
    ("tensors", "check"),
    [
        ({}, Check.TARGETS),
        (shaped(**{"base_model.model.lm_head.weight": ([1], [1.0])}), Check.TARGETS),
        (shaped(**{"base_model.model.model.embed_tokens.lora_embedding_A": ([1], [1.0])}), Check.TARGETS),
        ({name.replace("layers.0", "layers.7"): t for name, t in weights().items()}, Check.TARGETS),
        ({name.replace("layers.0.self_attn", "layers.0.mlp"): t for name, t in weights().items()}, Check.TARGETS),
        (shaped(**{f"{Q}.lora_B.weight": None}), Check.SHAPE),
        (shaped(**{f"{Q}.lora_B.weight": ([16], [1.0] * 16)}), Check.SHAPE),
        (shaped(**{f"{Q}.lora_A.weight": ([2, 9], [1.0] * 18)}), Check.SHAPE),
        (shaped(**{f"{Q}.lora_B.weight": ([4, 2], [1.0] * 8)}), Check.SHAPE),
        (shaped(**{f"{Q}.lora_B.weight": ([8, 1], [1.0] * 8)}), Check.RANK),
        (shaped(**{f"{Q}.lora_B.weight": ([8, 2], [1.0] * 15 + [float("nan")])}), Check.FINITE),
        (shaped(**{f"{Q}.lora_A.weight": ([2, 8], [float("-inf")] + [1.0] * 15)}), Check.FINITE),
    ],
)
def test_weights(home: Home, tensors: dict[str, Any], check: Check) -> None:
    assert refused(home, adapter(home.inbox / "a", tensors=tensors)).check is check


def test_shapes_of_an_unknown_architecture_are_left_to_the_engine(home: Home) -> None:
    odd = adapter(home.inbox / "a", tensors=shaped(**{f"{Q}.lora_B.weight": ([4, 2], [1.0] * 8)}))
    assert home.gate(config={"model_type": "new"}).admit(str(odd))


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"schema": 2}, Check.MANIFEST),
        ({"base": None}, Check.MANIFEST),
        ({"content_sha256": "0" * 64}, Check.HASH),
        ({"base": {"model": "other", "config_sha256": "0" * 64}}, Check.BASE),
        ({"base": {"model": "other", "weights_sha256": "0" * 64}}, Check.BASE),
    ],
)
def test_manifests(home: Home, changes: dict[str, Any], check: Check) -> None:
    assert refused(home, with_manifest(adapter(home.inbox / "a"), **changes)).check is check


def test_weights_changed_after_the_manifest(home: Home) -> None:
    folder = with_manifest(adapter(home.inbox / "a"))
    save(folder / WEIGHTS, weights(2.0))
    assert refused(home, folder).check is Check.HASH


def test_a_manifest_can_be_asked_for(home: Home) -> None:
    folder = adapter(home.inbox / "a")
    assert refused(home, folder, require_manifest=True).check is Check.MANIFEST
    (folder / MANIFEST).write_text("{")
    assert refused(home, folder).check is Check.MANIFEST


def test_a_broken_copy_is_replaced_and_a_whole_one_is_kept(home: Home) -> None:
    source = str(adapter(home.inbox / "a"))
    first = home.gate().admit(source)
    before = (first.path / WEIGHTS).stat().st_ino
    assert (home.gate().admit(source).path / WEIGHTS).stat().st_ino == before
    home.store.release(first.sha256)
    (first.path / WEIGHTS).chmod(0o644)
    (first.path / WEIGHTS).write_bytes(b"rot")
    again = home.gate().admit(source)
    assert content_sha256(again.path) == again.sha256 == first.sha256


def test_a_sweep_spares_what_is_held_or_was_used_lately(home: Home) -> None:
    kept, swept, recent = (home.gate().admit(str(adapter(home.inbox / str(n), n))) for n in (1.0, 2.0, 3.0))
    for old in (kept, swept):
        os.utime(old.path, (1, 1))
    home.store.release(swept.sha256)
    home.store.release(recent.sha256)
    other = Store(home.store.root)
    assert other.sweep(unused_s=3600) == [swept.sha256]
    assert {entry.name for entry in home.store.root.iterdir()} == {kept.sha256, recent.sha256}


def test_a_lost_copy_is_not_held(home: Home) -> None:
    assert not home.store.hold("0" * 64)
