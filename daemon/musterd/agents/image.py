"""What a process runs, as far as its arguments and image tell, and where its package may lie."""

import re
from collections.abc import Collection

from .base import ProcessFacts

_RUNTIMES = ("node", "nodejs", "bun")

# Programs that sit beside an agent whether it works or not: MCP servers (by the names of their packages) and
# language servers. The name of a script says nothing: `test_mcp.py` is work. A helper that uses the CPU
# keeps its session all the same.
_MCP = re.compile(
    r"(?:^|[/@])(?:@modelcontextprotocol/server-|mcp-server-|server-mcp-)|[-_]mcp(?:-server)?(?:@|$)"
)
_LANGUAGE_SERVERS = frozenset((
    "clangd", "gopls", "jdtls", "lua-language-server", "pylsp", "pyright-langserver", "rust-analyzer",
    "ruff-lsp", "solargraph", "tsserver.js", "typescript-language-server", "vscode-json-language-server",
    "yaml-language-server", "zls",
))  # fmt: skip
_RUNNERS = (*_RUNTIMES, "deno", "uv", "uvx", "npx", "python", "python3")


def name(path: str) -> str:
    return path.rpartition("/")[2]


def runs_script(process: ProcessFacts) -> bool:
    """Whether its image is a JavaScript runtime."""
    return name(process.executable) in _RUNTIMES


def script(process: ProcessFacts) -> str:
    """The script that a runtime was started with: its first argument that is no option; "" if none is."""
    return next((word for word in process.argv[1:] if word and not word.startswith("-")), "")


def has_title(process: ProcessFacts, title: str) -> bool:
    """Whether the program replaced its arguments by this title, and the kernel's name of it, too.

    setproctitle leaves zero bytes where the arguments were: no command line looks like that.
    """
    first, *rest = process.argv or ("",)
    return first == title and not any(rest) and process.comm == title


def runs(process: ProcessFacts, command: str, packages: Collection[str]) -> bool:
    """Whether it is a runtime with the script of that command, or one of these npm packages."""
    path = script(process)
    if not runs_script(process) or not path:
        return False
    return name(path) == command or any(f"/node_modules/{package}/" in path for package in packages)


def package_json(path: str, package: str) -> tuple[str, ...]:
    """Where npm keeps a package's description, for a path of its command or of a file within it."""
    if not path.startswith("/"):
        return ()
    inside, found, _ = path.partition(f"/node_modules/{package}/")
    if found:
        return (f"{inside}{found}package.json",)
    directory = path.rpartition("/")[0]
    if directory.endswith("/node_modules/.bin"):  # installed in a project
        return (f"{directory.removesuffix('.bin')}{package}/package.json",)
    prefix = directory.rpartition("/")[0]
    return (f"{prefix}/lib/node_modules/{package}/package.json",)  # installed with -g


def subcommand(process: ProcessFacts, known: frozenset[str]) -> str:
    """The first argument that is one of these words; "" if there is none. Options may stand before it."""
    return next((word for word in process.argv[1:] if word in known), "")


def is_furniture(process: ProcessFacts) -> bool:
    """Whether it is an MCP or a language server, or what started one (npx, uvx)."""
    program = name(process.executable)
    if program in _LANGUAGE_SERVERS or _MCP.search(program):
        return True
    if not program.startswith(_RUNNERS):
        return False
    # Words of the start only: behind the script are its own arguments, which may name anything.
    words = [word for word in " ".join(process.argv[:4]).split() if not word.startswith("-")]
    return any(name(word) in _LANGUAGE_SERVERS or _MCP.search(word) for word in words[:4])
