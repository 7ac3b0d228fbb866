"""What the README tells a newcomer to type, on the real engine."""

from __future__ import annotations

import re
import subprocess

import pytest

from benchmarks.servers import REDRAFT
from tests import readme
from tests.e2e.conftest import Server
from tests.pages import Block, blocks, pages

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


@pytest.mark.parametrize("example", readme.examples(), ids=str)
def test_an_example_of_the_readme_does_what_it_says(served: Server, example: Block) -> None:
    readme.check(example, readme.run(example, url=served.url, model=served.model, timeout_s=300))


def test_flags_of_serve_in_the_docs_are_ours_or_vllms() -> None:
    known = subprocess.run([REDRAFT, "serve", "--help"], capture_output=True, text=True, check=True, timeout=300).stdout
    lines = [line for page in pages() for block in blocks(page, "bash") for line in block.text.splitlines()]
    used = {flag for line in lines if "redraft serve" in line for flag in FLAG.findall(line)}
    assert used >= {"--max-model-len", "--lora-modules", "--engine-url"}
    assert used <= set(FLAG.findall(known))
