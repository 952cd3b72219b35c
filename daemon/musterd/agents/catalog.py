"""The agents there are: a new one is a module of its own, and a line here."""

from collections.abc import Mapping

from musterd.agents.base import Adapter
from musterd.agents.codex import Codex
from musterd.agents.gemini import Gemini
from musterd.agents.pi import Pi
from musterd.core.session import Agent

ADAPTERS: Mapping[Agent, Adapter] = {
    adapter.agent: adapter for adapter in (Codex(), Gemini(), Pi(), Adapter())
}
