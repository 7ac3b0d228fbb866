"""The worker process: `python -m evalsuite.checker.worker`. It answers one JSON line on its output for each on its input.

It limits its own memory before it imports anything heavy, and it is killed from outside when it takes too long. Whatever an
answer makes SymPy do happens here and nowhere else.
"""

import json
import os
import resource
import sys
from typing import Any, TextIO

MEMORY_BYTES = 512 * 1024 * 1024


def answer(request: dict[str, Any]) -> dict[str, Any]:
    from evalsuite.checker.decide import decide, may_ask
    from evalsuite.checker.opinion import agrees
    from evalsuite.checker.symbolic import prove

    gold, pred = str(request["gold"]), str(request["pred"])
    decision = decide(gold, pred, prove)
    if decision.state == "unread":
        if may_ask(gold, pred) and agrees(gold, pred):
            return {"state": "equal", "reason": "math-verify finds them equal in both directions"}
        return {"state": "open", "reason": decision.reason}
    return {"state": decision.state, "reason": decision.reason}


def serve(requests: TextIO, replies: TextIO) -> None:
    """Answers until the input ends. A request that fails in any way is a reply that says so: the next one must not suffer."""
    replies.write(json.dumps({"state": "ready"}) + "\n")
    replies.flush()
    for line in requests:
        try:
            reply = answer(json.loads(line))
        except (Exception, RecursionError, MemoryError) as error:  # noqa: BLE001  # SymPy raises anything at all on odd input
            reply = {"state": "open", "reason": f"the symbolic layer failed: {type(error).__name__}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.dup2(null, sys.stderr.fileno())
    os.close(null)
    from evalsuite.checker.opinion import agrees

    agrees("\\sum_{k=1}^{2} k", "3")  # imports SymPy and builds the grammar once, before the first request's clock starts
    serve(sys.stdin, replies)


if __name__ == "__main__":
    main()
