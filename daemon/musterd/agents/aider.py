"""aider: by its source. It has neither hooks nor sessions: it is shown, and only a user can end it."""

from itertools import pairwise

from musterd.core.session import Agent

from . import image
from .base import Adapter, ProcessFacts, Role


class Aider(Adapter):
    agent = Agent.AIDER
    comms = ("aider",)
    opens = (".aider/analytics.json", ".aider/installs.json")

    def role(self, process: ProcessFacts, parent: ProcessFacts | None) -> Role | None:
        """A Python with the script that pip installs, or with the module."""
        if not image.name(process.executable).startswith("python"):
            return None
        words = process.argv[1:]
        is_script = image.name(image.script(process)) == "aider"
        is_module = ("-m", "aider") in pairwise(words)
        return Role.LEADER if is_script or is_module else None
