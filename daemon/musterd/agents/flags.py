"""Which options of an agent's command line are repeated when it is resumed: a table for each agent.

What is not in the table is left out, and so is every prompt: it was answered already.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flags:
    """Options with their dashes. `=VALUE` may be part of any of them."""

    plain: Collection[str] = ()
    valued: Collection[str] = ()  # with the word behind it
    listed: Collection[str] = ()  # with all words behind it up to the next option
    dropped: Collection[str] = ()  # not repeated, nor is the word behind it: it may look like an option

    def kept(self, command: Sequence[str]) -> tuple[str, ...]:
        """Those that stand in an argument list, in its order. Nothing behind `--` is an option."""
        kept: list[str] = []
        words = list(command[1:])
        while words and (word := words.pop(0)) != "--":
            name, has_value, _ = word.partition("=")
            if name in self.dropped and not has_value:
                del words[:1]
            elif name in self.valued and not has_value:
                kept += [word, *words[:1]] if words else []
                del words[:1]
            elif name in self.listed and not has_value:
                count = _values(words)
                kept += [word, *words[:count]] if count else []
                del words[:count]
            elif name in {*self.plain, *self.valued, *self.listed}:
                kept.append(word)
        return tuple(kept)


def _values(words: Sequence[str]) -> int:
    return next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
