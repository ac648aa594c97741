"""Whether a server can be reached, told in seconds: libraries of a hub try for half a minute."""

import socket
from threading import Thread
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from g2is.errors import first_line

_SECONDS_TO_CONNECT = 2.0


def why_unreachable(endpoint: str) -> str:
    """Why no connection to the URL `endpoint` is to be had, or to the proxy before it; empty if there is one."""
    address, proxies = urlsplit(endpoint), getproxies()
    proxy = proxies.get(address.scheme) or proxies.get("all")
    if proxy and not proxy_bypass(address.hostname or ""):
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
    except ValueError as error:
        return first_line(error)
    found = [f"no answer within {_SECONDS_TO_CONNECT:g} s"]

    def connect() -> None:
        try:
            socket.create_connection((address.hostname, port), timeout=_SECONDS_TO_CONNECT).close()
            found[0] = ""
        except OSError as error:
            found[0] = first_line(error)

    trial = Thread(target=connect, daemon=True)  # to look a name up may take longer, and cannot be given up
    trial.start()
    trial.join(_SECONDS_TO_CONNECT)
    return found[0]
