"""Whom this musterd serves, one user or all of them, and what that takes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from musterd.bus.connection import BusConnection
from musterd.ports import Authority
from musterd.warden_port import Wardens


@dataclass(frozen=True, slots=True)
class Realm:
    wardens: Wardens
    authority: Authority
    # uid and pid of who wants to be a warden -> the fd of its line
    attach: Callable[[int, int], Awaitable[int]]
    connect: Callable[[BusConnection], None]  # takes the bus, as soon as there is one
    begin: Callable[[], None]  # wardens that are started now find us on the bus
