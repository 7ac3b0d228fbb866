"""Who answers at the server's port while there is no server: every request gets 503 and Retry-After, not a refused connection.

The supervisor opens the port once, before anything is loaded, and keeps it: each server that it starts inherits the listening socket,
and so does this stand-in, a process of its own, which lives while the server starts and after it has ended. Knows neither vLLM nor FastAPI.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from redraft.errors import EngineUnavailable

VARIABLE = "REDRAFT_LISTEN_FD"
"""Names the listening socket's file descriptor in the server's environment."""
RETRY_AFTER_S = 5
PATIENCE_S = 10.0
"""So long may one client take to send its request."""
END_S = 1.0
POLL_S = 0.02
"""Between two looks whether to end."""
BACKLOG = 2048
LONGEST_BODY = 16 * 2**20
PIECE = 64 * 2**10
LINE_END = b"\r\n"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class StandIn:
    """`preexec` runs in the new process before it begins."""

    def __init__(self, host: str, port: int, preexec: Callable[[], None] | None = None) -> None:
        """Opens the port. Raises OSError where that cannot be."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=BACKLOG)
        self._preexec = preexec
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def fd(self) -> int:
        return self._socket.fileno()

    def begin(self) -> None:
        """Answer, from now on. No more than one stands in."""
        if self._process is None:
            command = [sys.executable, "-P", "-m", "server.standin", str(self.fd)]
            self._process = subprocess.Popen(command, pass_fds=[self.fd], process_group=0, preexec_fn=self._preexec)  # noqa: PLW1509 - no thread

    def end(self) -> None:
        """The server answers now, or nobody shall. Whom the stand-in has accepted it answers still, if that takes no longer than END_S."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def close(self) -> None:
        self.end()
        self._socket.close()


def inherited() -> socket.socket | None:
    """The listening socket that a supervisor has opened for this server; None where there is no supervisor."""
    given = os.environ.get(VARIABLE)
    return None if given is None else socket.socket(fileno=int(given))


class _Sorry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "redraft", ""
    timeout = PATIENCE_S

    def answer(self) -> None:
        self._hear_out()
        error = EngineUnavailable("the server is starting: try again soon")
        body = json.dumps({"error": {"message": error.message, "type": error.type, "param": None, "code": error.status}}).encode()
        self.send_response(error.status)
        self.send_header("Retry-After", str(RETRY_AFTER_S))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _hear_out(self) -> None:
        """A client that is still sending when the connection closes would see a reset, not the answer."""
        chunked = "chunked" in self.headers.get("Transfer-Encoding", "").lower()
        said = self.headers.get("Content-Length", "")
        with contextlib.suppress(TimeoutError, ValueError):  # a size that is none: nothing more can be made out
            if chunked:
                self._hear_chunks()
            elif said.isdecimal():
                self._hear(min(int(said), LONGEST_BODY))

    def _hear_chunks(self) -> None:
        left = LONGEST_BODY
        while left > 0 and (size := int(self.rfile.readline(PIECE).partition(b";")[0], 16)) > 0:
            self._hear(min(size + len(LINE_END), left))
            left -= size
        while self.rfile.readline(PIECE).strip():
            """What may follow the last chunk, up to an empty line."""

    def _hear(self, left: int) -> None:
        while left > 0 and (piece := self.rfile.read(min(left, PIECE))):
            left -= len(piece)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody wants a line for each probe."""


for _method in METHODS:
    setattr(_Sorry, f"do_{_method}", _Sorry.answer)


class _Answering(ThreadingHTTPServer):
    daemon_threads = False  # closing waits for those that are being answered

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


def main() -> None:
    """`python -m server.standin FD`: answer at the listening socket FD until told to end."""
    listening = socket.socket(fileno=int(sys.argv[1]))
    server = _Answering(listening.getsockname(), _Sorry, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(POLL_S)
    server.server_close()


if __name__ == "__main__":
    main()
