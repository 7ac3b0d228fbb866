"""Compose, and what Kubernetes' own schema does not know, against schemas: without Docker, a cluster or an operator."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from importlib import resources
from typing import Any

import jsonschema
import pytest
import yaml

from tests.deploy.series import DEPLOY

pytest.importorskip("check_jsonschema", reason="check-jsonschema, which brings the schema of compose files, is not installed")

COMPOSE_SCHEMA = json.loads(resources.files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
DURATION = {"type": "string", "pattern": r"^\d+(ms|s|m|h)$"}
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


def manifest(version: str, kind: str, required: list[str], **properties: Any) -> dict[str, Any]:
    about = closed(["name"], name={"type": "string"}, labels=LABELS)
    return closed(["apiVersion", "kind", *required], apiVersion={"const": version}, kind={"const": kind}, metadata=about, **properties)


ENDPOINT = closed(
    ["port", "authorization"],
    port={"type": "string"},
    path={"type": "string", "pattern": "^/"},
    interval=DURATION,
    scrapeTimeout=DURATION,
    scheme={"enum": ["http", "https"]},
    authorization=closed(
        ["credentials"], type={"type": "string"}, credentials=closed(["name", "key"], name={"type": "string"}, key={"type": "string"})
    ),
)
POD_MONITOR = manifest(
    "monitoring.coreos.com/v1",
    "PodMonitor",
    ["metadata", "spec"],
    spec=closed(
        ["selector", "podMetricsEndpoints"],
        jobLabel={"type": "string"},
        selector=closed(["matchLabels"], matchLabels=LABELS),
        podMetricsEndpoints={"type": "array", "minItems": 1, "items": ENDPOINT},
    ),
)
"""The part of the operator's definition that is used here: a field of another name would be dropped in silence."""
KUSTOMIZATION = manifest(
    "kustomize.config.k8s.io/v1beta1",
    "Kustomization",
    ["resources"],
    resources={"type": "array", "minItems": 1, "items": {"type": "string", "pattern": r"\.yaml$"}},
    images={"type": "array", "items": closed(["name"], name={"type": "string"}, newName={"type": "string"}, newTag={"type": "string"})},
)
FILES = {
    "compose.yaml": COMPOSE_SCHEMA,
    "kubernetes/podmonitor.yaml": POD_MONITOR,
    "kubernetes/kustomization.yaml": KUSTOMIZATION,
}


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", FILES)
def test_a_file_keeps_its_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(FILES[name])
    jsonschema.Draft202012Validator(FILES[name]).validate(read(name))


def put(*path: Any, value: Any) -> Callable[[Any], None]:
    def change(found: Any) -> None:
        for step in path[:-1]:
            found = found[step]
        found[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("compose.yaml", put("services", "redraft-1", "volume", value=["a:/b"])),
        ("compose.yaml", put("services", "nginx", "ports", value="8000:8000")),
        ("compose.yaml", put("services", "redraft-1", "stop_grace_period", value=180)),
        ("compose.yaml", put("service", value={})),
        ("kubernetes/podmonitor.yaml", put("spec", "podMetricsEndpoints", 0, "bearerToken", value="x")),
        ("kubernetes/podmonitor.yaml", put("spec", "podMetricsEndpoints", 0, "interval", value=10)),
        ("kubernetes/podmonitor.yaml", put("spec", "endpoints", value=[])),
        ("kubernetes/kustomization.yaml", put("resources", value=[])),
        ("kubernetes/kustomization.yaml", put("image", value=[])),
    ],
)
def test_a_wrong_file_would_be_seen(name: str, change: Callable[[Any], None]) -> None:
    wrong = copy.deepcopy(read(name))
    change(wrong)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(FILES[name]).validate(wrong)
