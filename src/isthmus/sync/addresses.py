"""Addresses of systems that speak no HTTP: looked at before anything is sent there, as those of web addresses are."""

import asyncio
import socket

from isthmus.sync.calls import HOUSE
from isthmus.sync.connector import ConnectorError


async def numeric(host: str, *, port: int, setting: str, own_only: str = "") -> str:
    """Return the numeric address to connect to; raises ConnectorError for one that may not be called.

    All addresses of the name must be fit, and the first is used, so that it cannot mean another later. With `own_only`,
    which says in words what to do otherwise, only this machine and private networks are reached.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConnectorError(f"There is no host {host!r}.", fix=f"Check `{setting}`.") from error
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        plain = address.partition("%")[0]
        if not HOUSE.may_reach(plain):
            raise ConnectorError(
                f"{host} leads to an address that may not be called.", fix="Give a host of your own or public one."
            )
        if own_only and not HOUSE.is_own(plain):
            raise ConnectorError(f"{host} is not in your own network, and nothing is encrypted.", fix=own_only)
    return addresses[0]
