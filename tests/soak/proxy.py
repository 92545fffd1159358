"""A wire that can be cut: TCP between a client and a server, passed on, slowed, held up, cut or failed.

Knows bytes only.
"""

import asyncio
import threading
from enum import StrEnum

SERVER_ERROR_RESPONSE = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
SLOW_SECONDS = 0.1  # a piece, each way


class ConnectionMode(StrEnum):
    """How it behaves."""

    WHOLE = "whole"
    SLOW = "slow"
    STALLED = "stalled"  # taken, and never passed on
    CUT = "cut"
    FAILS = "fails"  # every request is answered with 500


class TcpProxy:
    """One wire; `wire` may be set at any time."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.mode = ConnectionMode.WHOLE
        self.open: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True).start()
        self.server = asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result()
        self.port = int(self.server.sockets[0].getsockname()[1])

    def set_mode(self, wire: ConnectionMode) -> None:
        """Behave so from now on; what is under way is broken where the wire is."""
        self.mode = wire
        if wire in (ConnectionMode.CUT, ConnectionMode.FAILS):
            self.loop.call_soon_threadsafe(self._break)

    def close(self) -> None:
        """Listen no more."""
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self._break)

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._connected, "127.0.0.1", 0)

    def _break(self) -> None:
        for writer in list(self.open):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is ConnectionMode.CUT:
            writer.transport.abort()
            return
        if self.mode is ConnectionMode.FAILS:
            await reader.read(65536)
            writer.write(SERVER_ERROR_RESPONSE)
            writer.close()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self.open |= ends
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        finally:
            self.open -= ends

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(65536):
                if self.mode is ConnectionMode.SLOW:
                    await asyncio.sleep(SLOW_SECONDS)
                while self.mode is ConnectionMode.STALLED:
                    await asyncio.sleep(0.2)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass  # broken by us or by one of the ends; both are ended below
        finally:
            writer.close()
