"""What the docs name exists: links, make targets, command lines, settings, errors, metrics, the tree of the house."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from prometheus_client import CollectorRegistry

import evalsuite.cli
import server.cli
import trainer.cli
import trainer.config
import trainer.running.plan
from redraft.errors import BY_STATUS
from redraft.types import Stop
from server import config
from server.admission import Admission
from server.config import ServeSettings
from server.routes.schema import LoopParams
from server.telemetry import Telemetry
from tests import pages
from tests.pages import ROOT, Block

SERVER = ROOT / "docs" / "server.md"
COMMANDS: dict[str, Any] = {
    "redraft": typer.main.get_command(server.cli.app),
    "evalsuite": typer.main.get_command(evalsuite.cli.app),
    "trainer": typer.main.get_command(trainer.cli.app),
}
LINK = re.compile(r"\]\(([^)\s#]+)(?:#[^)\s]*)?\)")
HOSTS = {"127.0.0.1", "arxiv.org", "docs.astral.sh", "github.com", "keepachangelog.com"}
OF_A_MACHINE = re.compile(r"(?<![\w.])/(?:home|root|work|tmp|Users|mnt|opt|var)/")
ASSIGNMENT = re.compile(r"[A-Za-z_.]+=")
ENDS_A_COMMAND = frozenset({"|", "&", "&&", "||", ";", ">", ">>"})


def each_page() -> Any:
    return pytest.mark.parametrize("page", pages.pages(), ids=lambda page: page.relative_to(ROOT).as_posix())


def command_lines(block: Block) -> Iterator[list[str]]:
    """The commands of a shell block as words: joined over backslashes, cut at pipes, without prompts, variables and comments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if "<<" in line or line.count("'") % 2:
            continue
        words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if word not in ENDS_A_COMMAND:
                if command or not ASSIGNMENT.match(word):
                    command.append(word)
            elif command:
                yield command
                command = []


@each_page()
def test_relative_links_lead_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(pages.prose(page)) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@each_page()
def test_pages_name_no_machine_and_only_known_hosts(page: Path) -> None:
    assert OF_A_MACHINE.findall(pages.read(page)) == []
    assert set(re.findall(r"https?://([^/:\s)\"'`]+)", pages.read(page))) <= HOSTS


@each_page()
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    spoken = [shlex.split(span) for span in re.findall(r"`(make [^`]+)`", pages.prose(page))]
    typed = [words for block in pages.blocks(page, "bash", "") for words in command_lines(block) if words[0] == "make"]
    asked = {word for words in [*spoken, *typed] for word in words[1:] if not ASSIGNMENT.match(word)}
    assert asked <= targets


def of_ours() -> list[Any]:
    found = [(block, words) for page in pages.pages() for block in pages.blocks(page, "bash", "") for words in command_lines(block)]
    return [pytest.param(words, id=f"{block} {' '.join(words[:2])}") for block, words in found if words[0] in COMMANDS]


def parse(words: list[str], patch: pytest.MonkeyPatch, directory: Path) -> int:
    """The exit code of a command line whose command does nothing. The files that it names are there."""
    patch.chdir(directory)
    for word in words:
        if re.fullmatch(r"[\w./-]+\.(?:jsonl?|csv|yaml)", word):
            (directory / word).parent.mkdir(parents=True, exist_ok=True)
            (directory / word).touch()
    command = COMMANDS[words[0]]
    for word in words[1:]:
        if word in getattr(command, "commands", {}):
            command = command.commands[word]
    patch.setattr(command, "callback", lambda **given: None)
    with pytest.raises(SystemExit) as end:
        COMMANDS[words[0]].main(words[1:], prog_name=words[0])
    return int(end.value.code or 0)


@pytest.mark.parametrize("words", of_ours())
def test_a_command_line_parses(
    words: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert parse(words, monkeypatch, tmp_path) == 0, capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "redraft solve x --draft 3",
        "redraft solve a b",
        "redraft solv x",
        "redraft serve --port many",
        "evalsuite run",
        "evalsuite run --task x --strategy best",
        "trainer fit",
    ],
)
def test_a_wrong_command_line_would_be_seen(line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert parse(shlex.split(line), monkeypatch, tmp_path) == 2


@each_page()
def test_yaml_examples_are_accepted(page: Path, tmp_path: Path) -> None:
    for block in pages.blocks(page, "yaml"):
        example = tmp_path / "example.yaml"
        example.write_text(block.text, encoding="utf-8")
        if "method" in yaml.safe_load(block.text):
            trainer.config.load(example)
        elif "workdir" in yaml.safe_load(block.text):
            trainer.running.plan.load(example)
        else:
            config.load(example, {})


def test_the_settings_that_are_shown_are_all_and_the_defaults(tmp_path: Path) -> None:
    (block,) = pages.blocks(SERVER, "yaml")
    shown = yaml.safe_load(block.text)
    defaults = ServeSettings.model_construct().model_dump()
    assert shown == defaults


def test_the_loops_fields_and_ends_are_all_told() -> None:
    text = pages.read(SERVER)
    table = text.partition("| field of `loop`")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(LoopParams.model_fields)
    ends = text.partition("| `stop` | meaning |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", ends)) == {stop.value for stop in Stop}


def test_every_error_has_its_row_and_no_other() -> None:
    rows = set(re.findall(r"^\| (\d{3}) \| `(\w+)` \|", pages.read(SERVER), re.MULTILINE))
    assert rows == {(str(status), error.type) for status, error in BY_STATUS.items()}


def test_every_series_has_its_row_with_its_labels() -> None:
    registry = CollectorRegistry()
    Telemetry(Admission(running=1, waiting=1), registry)
    real = {metric.name + ("_total" if metric.type == "counter" else ""): metric.type for metric in registry.collect()}
    told = {}
    for names, kind in re.findall(r"^\| ((?:`redraft_\w+`(?:, )?)+) \| (\w+) \|", pages.read(SERVER), re.MULTILINE):
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), kind)
    assert told == real


def house() -> set[str]:
    (block,) = pages.blocks(ROOT / "docs" / "design.md", "text")
    return {line.split()[0] for line in block.text.splitlines()}


def test_the_house_names_only_what_stands() -> None:
    assert [path for path in sorted(house()) if not (ROOT / path).exists()] == []


def test_every_room_is_in_the_house() -> None:
    rooms = [ROOT / name for name in ("redraft", "server", "evalsuite", "trainer")]
    packages = [path.parent for room in rooms for path in room.rglob("__init__.py")]
    assert {f"{package.relative_to(ROOT).as_posix()}/" for package in packages} <= house()
