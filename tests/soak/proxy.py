"""A TCP proxy between client and server that can pass, slow down, stall, cut or fail connections."""

import asyncio
import threading
from enum import StrEnum

SERVER_ERROR_RESPONSE = (
    b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
SLOW_SECONDS = 0.1  # delay per block, in each direction


class ConnectionMode(StrEnum):
    """The behaviour of a proxy."""

    WHOLE = "whole"
    SLOW = "slow"
    STALLED = "stalled"  # received, but not passed on
    CUT = "cut"
    FAILS = "fails"  # every request gets status 500


class TcpProxy:
    """A proxy for one server; its mode can be changed at any time."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target = target
        self.mode = ConnectionMode.WHOLE
        self.open: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="proxy", daemon=True).start()
        self.server = asyncio.run_coroutine_threadsafe(self._listen(), self.loop).result()
        self.port = int(self.server.sockets[0].getsockname()[1])

    def set_mode(self, mode: ConnectionMode) -> None:
        """Change the mode; CUT and FAILS also close open connections."""
        self.mode = mode
        if mode in (ConnectionMode.CUT, ConnectionMode.FAILS):
            self.loop.call_soon_threadsafe(self._break)

    def close(self) -> None:
        """Stop listening and close open connections."""
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
            server_reader, server_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, server_writer}
        self.open |= ends
        try:
            await asyncio.gather(self._pass(reader, server_writer), self._pass(server_reader, writer))
        finally:
            self.open -= ends

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while block := await reader.read(65536):
                if self.mode is ConnectionMode.SLOW:
                    await asyncio.sleep(SLOW_SECONDS)
                while self.mode is ConnectionMode.STALLED:
                    await asyncio.sleep(0.2)
                writer.write(block)
                await writer.drain()
        except OSError:
            pass  # closed by the proxy or by one end; both are closed below
        finally:
            writer.close()
