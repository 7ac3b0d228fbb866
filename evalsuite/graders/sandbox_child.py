"""The process of one `python` grading: run as a script by `sandbox`, with the request on its input. Imports nothing of ours.

It holds itself in before it runs the source: namespaces if asked to, limits, an audit hook. On its output come two lines of JSON: the
pid of the process to kill, then the score or the fault.
"""

from __future__ import annotations

import json
import math
import numbers
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

NEW_NAMESPACES = 0x00020000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""Mounts, IPC, users, processes, network."""
NOBODY = 65534
PRIVATE_RECURSIVE = 0x4000 | 1 << 18
NOSUID_NODEV = 2 | 4
MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE = 442, -100, 0x8000
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
CAPABILITY_VERSION_3 = 0x20080522
MEBIBYTE = 1024 * 1024
NO_MEMORY = b'{"fault": "memory", "detail": "it asked for more memory than its limit"}\n'

REFUSED = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pty.", "ctypes.", "os.kill")
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "shutil.", "os.mkdir")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    replies = os.dup(sys.stdout.fileno())
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    signal.alarm(int(request["seconds"]) + 60)
    if request["namespaces"]:
        enter_namespaces(replies, request["scratch"])
    else:
        write(replies, {"pid": None})
    limit(request["seconds"], request["memory_bytes"])
    sys.addaudithook(guard(writes=request["namespaces"]))
    os.write(replies, outcome(request))
    os._exit(0)


def enter_namespaces(replies: int, scratch: str) -> None:
    """Go on in a child that is the first process of its own namespaces; the caller of `main` waits in the old ones to be killed."""
    libc = system_library()
    owner, group = os.getuid(), os.getgid()
    try:
        must(libc, libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
        must(libc, libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        must(libc, libc.unshare(NEW_NAMESPACES))
        write_file("/proc/self/setgroups", "deny")
        write_file("/proc/self/uid_map", f"{NOBODY} {owner} 1")
        write_file("/proc/self/gid_map", f"{NOBODY} {group} 1")
        must(libc, libc.mount(None, b"/", None, PRIVATE_RECURSIVE, None))
        read_only(libc)
        must(libc, libc.mount(b"tmpfs", scratch.encode(), b"tmpfs", NOSUID_NODEV, b"size=16m,mode=700"))
        os.chdir(scratch)
    except OSError as error:
        write(replies, {"fault": "crashed", "detail": f"this system does not allow namespaces: {error}"})
        os._exit(1)
    go, told = os.pipe()
    inner = os.fork()
    if inner:
        write(replies, {"pid": inner})
        os.close(replies)
        os.write(told, b"!")
        while True:
            signal.pause()
    must(libc, libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))
    os.read(go, 1)
    os.close(go)
    os.close(told)
    drop_capabilities(libc)


def system_library() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def must(libc: Any, result: int) -> None:
    import ctypes

    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def read_only(libc: Any) -> None:
    """No file system may be written to from here on; one mounted later may."""
    import ctypes

    attributes = (ctypes.c_uint64 * 4)(1, 0, 0, 0)
    must(libc, libc.syscall(MOUNT_SETATTR, AT_FDCWD, b"/", AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes)))


def drop_capabilities(libc: Any) -> None:
    """What the new namespaces gave is not needed any more."""
    import ctypes

    header, nothing = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    must(libc, libc.capset(ctypes.byref(header), ctypes.byref(nothing)))


def limit(seconds: float, memory_bytes: int) -> None:
    bounds = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: math.ceil(seconds) + 1,
        resource.RLIMIT_FSIZE: 16 * MEBIBYTE,
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        _, hard = resource.getrlimit(kind)
        least = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (least, least))


def guard(*, writes: bool) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that refuses the network and other processes, and, unless `writes`, whatever changes files."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(REFUSED):
            raise PermissionError(f"a grader may not do this: {event}")
        if not writes and (event.startswith(CHANGES) or (event == "open" and (arguments[2] or 0) & WRITES)):
            raise PermissionError(f"a grader may not change files: {event}")

    return hook


def outcome(request: dict[str, Any]) -> bytes:
    """The reply's line. Whatever the source raises is a reply."""
    try:
        space: dict[str, Any] = {"__name__": "grader"}
        exec(compile(request["source"], "grader", "exec"), space)  # noqa: S102  # this process is here to run it
        value = space["grade"](request["sample"], request["item"])
        if not isinstance(value, numbers.Real):
            return line({"fault": "not_a_number", "detail": f"expected grade() to return a number, found {type(value).__name__}"})
        return line({"value": float(value)})
    except MemoryError:
        return NO_MEMORY
    except OverflowError as error:
        return line({"fault": "not_a_number", "detail": str(error)[:300]})
    except BaseException as error:  # noqa: BLE001  # also SystemExit and KeyboardInterrupt, which a source may raise
        return line({"fault": "raised", "detail": f"{type(error).__name__}: {str(error)[:300]}{place(error)}"})


def place(error: BaseException) -> str:
    """Where in the source it was raised."""
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "grader":
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" (line {lines[-1]})" if lines else ""


def line(reply: dict[str, Any]) -> bytes:
    return json.dumps(reply).encode() + b"\n"


def write(descriptor: int, reply: dict[str, Any]) -> None:
    os.write(descriptor, line(reply))


def write_file(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main()
