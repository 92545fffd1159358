"""Servers as processes, and a wire that can be cut, for the serving benchmark.

Knows ports, process trees and sockets.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """One server, until the block ends."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.begun = time.perf_counter()
        with log.open("wb") as out:
            self.process = subprocess.Popen(  # noqa: S603
                command,
                env={**os.environ, **environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> "ServerProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Ask it to end, and make it; once is enough."""
        if self.process.poll() is not None:
            return
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def wait_for(self, url: str, seconds: float = 180) -> float:
        """Seconds from the start until an address answers."""
        while time.perf_counter() - self.begun < seconds:
            if self.process.poll() is not None:
                break
            try:
                httpx.get(url, timeout=2)
            except httpx.HTTPError:
                time.sleep(0.05)
            else:
                return time.perf_counter() - self.begun
        raise RuntimeError(f"{url} does not answer:\n{self.log.read_text(errors='replace')[-2000:]}")

    def resident_bytes(self) -> int:
        """Memory of the process and of its children."""
        return sum(_resident_bytes(pid) for pid in _process_tree(self.process.pid))


def _process_tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in _process_tree(int(child)))]


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) * 1024
    return 0


class CuttableConnection:
    """A TCP connection to somewhere that can be cut, and joined again."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = free_port()
        self._open: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.reconnect()

    def reconnect(self) -> None:
        """Let connections through."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def disconnect(self) -> None:
        """End every connection, and take no new ones."""
        assert self._listener is not None
        # A thread that waits in accept keeps the socket open; shutting it down wakes it.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in list(self._open):
            _close_socket(one)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client_socket, _ = listener.accept()
                server_socket = socket.create_connection(self.target)
            except OSError:
                return
            self._open |= {client_socket, server_socket}
            for source, sink in ((client_socket, server_socket), (server_socket, client_socket)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for one in (source, sink):
            _close_socket(one)
            self._open.discard(one)


def _close_socket(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
