"""A program that somebody registered by hand: nothing is known of it, so it is only listed."""

from musterd.core.session import Agent

from .base import Adapter


class Other(Adapter):
    agent = Agent.OTHER
