"""Threads, event loops, forks, limits and endings: the worker processes are invisible except for their answers."""

import asyncio
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from evalsuite.checker import _pool, check, check_async, close, is_equal, is_equal_async
from evalsuite.checker.pool import Pool
from evalsuite.checker.worker import MEMORY_BYTES

SYMBOLIC = ("\\sqrt[3]{2+\\sqrt5}", "\\frac{1+\\sqrt5}{2}")
SLOW = ("\\int_0^{\\infty} e^{x^{x^x}} dx", "\\int_0^{\\infty} e^{x^{x^{x^x}}} dx")


def test_the_symbolic_layer_says_so() -> None:
    verdict = check(*SYMBOLIC)
    assert verdict.equal
    assert verdict.how == "symbolic"


def test_cheap_cases_import_no_sympy_and_start_no_worker() -> None:
    program = (
        "import sys\n"
        "from evalsuite.checker import is_equal\n"
        "assert is_equal('\\\\frac{1}{2}', '0.5') and is_equal('x^2-1', '(x-1)(x+1)') and not is_equal('\\\\sqrt{2}', '1.41')\n"
        "assert is_equal('\\\\{1,2\\\\}', '2, 1') and is_equal('[0,1)', '0 \\\\le x < 1') and not is_equal('101_2', '5')\n"
        "assert not [name for name in sys.modules if name.split('.')[0] in ('sympy', 'math_verify', 'mpmath', 'numpy')]\n"
        "from evalsuite.checker import _pool\n"
        "assert _pool.cache_info().currsize == 0\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_from_many_threads_at_once() -> None:
    wrong: list[str] = []

    def work(index: int) -> None:
        for step in range(6):
            if (
                not is_equal(*SYMBOLIC)
                or is_equal(f"\\sin {index + 2}x", f"\\cos {step + 2}x")
                or not is_equal(f"{index}/7", f"\\frac{{{index}}}7")
            ):
                wrong.append(f"{index} {step}")

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


async def test_the_event_loop_runs_on_while_a_worker_works() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    ticking = asyncio.create_task(tick())
    close()
    verdict = await check_async(*SYMBOLIC)
    ticking.cancel()
    assert verdict.equal
    assert ticks > 5, "starting a worker takes hundreds of milliseconds; the loop must not wait for it"


async def test_many_questions_on_one_loop() -> None:
    pairs = [SYMBOLIC, ("2", "3"), ("\\frac12", "0.5"), ("\\sin 2x", "\\cos 2x")] * 10
    verdicts = await asyncio.gather(*(is_equal_async(gold, pred) for gold, pred in pairs))
    assert verdicts == [True, False, True, False] * 10


def workers() -> set[int]:
    return {worker.process.pid for worker in _pool()._free}


def test_a_forked_child_has_its_own_workers() -> None:
    assert is_equal(*SYMBOLIC)
    before = workers()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        answers = [is_equal(*SYMBOLIC), is_equal("\\cos 36^\\circ", "\\frac{1+\\sqrt5}{4}"), is_equal("1", "2")]
        own = bool(workers()) and workers().isdisjoint(before)
        close()
        os.write(write, repr((answers, own)).encode())
        os._exit(0)
    os.close(write)
    parent = [is_equal(*SYMBOLIC) for _ in range(5)]
    with os.fdopen(read, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert answer == b"([True, True, False], True)"
    assert all(parent)
    assert is_equal(*SYMBOLIC)
    assert workers() == before, "the child must not end its parent's workers"


@pytest.fixture(scope="module")
def alone() -> Iterator[Pool]:
    """A pool of one worker, so that a replaced one is seen."""
    pool = Pool(size=1, limit_s=30.0)
    yield pool
    pool.close()


def test_a_worker_over_its_wall_limit_is_killed_and_replaced(alone: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(alone, "limit_s", 0.001)
        reply = alone.ask(*SYMBOLIC)
    assert (reply.state, reply.reason) == ("open", "stopped after 0.001 s")
    assert alone.ask(*SYMBOLIC).state == "equal"


def test_what_no_layer_decides_is_an_abstention() -> None:
    verdict = check(*SLOW)
    assert (verdict.equal, verdict.how) == (False, "abstain")
    assert verdict.reason


def test_a_worker_limits_its_memory() -> None:
    program = (
        "import resource, evalsuite.checker.worker as worker\n"
        "worker.serve = lambda requests, replies: replies.write(str(resource.getrlimit(resource.RLIMIT_AS))) and replies.flush()\n"
        "worker.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == f"({MEMORY_BYTES}, {MEMORY_BYTES})"


def test_a_dead_worker_is_replaced(alone: Pool) -> None:
    assert alone.ask(*SYMBOLIC).state == "equal"
    for worker in alone._free:
        worker.process.kill()
        worker.process.wait()
    assert alone.ask(*SYMBOLIC).state == "open"
    assert alone.ask(*SYMBOLIC).state == "equal"


def test_nothing_is_left_at_the_end_of_the_interpreter() -> None:
    program = (
        "import gc, os\n"
        "from evalsuite.checker import is_equal, close, _pool\n"
        f"assert is_equal({SYMBOLIC[0]!r}, {SYMBOLIC[1]!r})\n"
        "print(*[worker.process.pid for worker in _pool()._free])\n"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c"]
    endings = [
        subprocess.Popen([*command, program + ending], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for ending in ("", "close()\n", "gc.collect()\n")
    ]
    for process in endings:
        out, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        assert out.split()
        for pid in out.split():
            with pytest.raises(ProcessLookupError):
                os.kill(int(pid), 0)


def test_close_may_be_called_twice_and_the_checker_goes_on() -> None:
    assert is_equal(*SYMBOLIC)
    close()
    close()
    gc.collect()
    assert is_equal(*SYMBOLIC)
