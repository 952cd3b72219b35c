"""All adapters, by the agent's name on the bus. A new agent is a new file and a line here."""

from collections.abc import Mapping

from musterd.core.session import Agent

from .aider import Aider
from .base import Adapter
from .claude import Claude
from .codex import Codex
from .gemini import Gemini
from .opencode import OpenCode
from .other import Other
from .pi import Pi

ADAPTERS: Mapping[Agent, Adapter] = {
    adapter.agent: adapter for adapter in (Claude(), Codex(), Gemini(), Pi(), OpenCode(), Aider(), Other())
}
