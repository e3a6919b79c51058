"""`twin serve`: the API and viewer in one process, the city's worker in another."""

from __future__ import annotations

import socket
from collections.abc import Callable

import uvicorn

from twin.api.app import create_app
from twin.city import City
from twin.errors import StorageError
from twin.worker import Supervisor


def serve(city: City, host: str, port: int, *, announce: Callable[[str], None]) -> None:
    """Serve until interrupted. Port 0 takes a free one; `announce` is called with the URL once the socket listens.

    Raises:
        StorageError: the port is taken.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # who comes as soon as the address is told waits, and is not turned away
    except OSError as error:
        listener.close()
        raise StorageError(f"Port {port} on {host} cannot be used: {error.strerror}.", "Choose another with --port.") from error
    app = create_app(city)
    app.openapi()  # every request's parameters are held against it: made now, or the first visitor waits a third of a second for it
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    supervisor = Supervisor(city.settings.home)
    supervisor.start()
    try:
        announce(f"http://{host}:{listener.getsockname()[1]}/")
        server.run(sockets=[listener])
    finally:
        supervisor.stop()
        listener.close()
