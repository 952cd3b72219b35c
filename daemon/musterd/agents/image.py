"""What a process runs, as far as its arguments and image tell, and where its package may lie."""

import re
from collections.abc import Collection, Mapping

from .base import ProcessFacts

_RUNTIMES = ("node", "nodejs", "bun")

# Programs that sit beside an agent whether it works or not: MCP servers (by the names of their packages) and
# language servers. The name of a script says nothing: `test_mcp.py` is work. A helper that uses the CPU
# keeps its session all the same.
_MCP = re.compile(
    r"@modelcontextprotocol/server-|(?:@[^/]+/)?(?:mcp-server-|server-mcp-|[^/]*[-_]mcp(?:-server)?(?:@|$))"
)
_SCRIPT = re.compile(r"\.(?:py|sh|[cm]?[jt]sx?)$")
# What opencode starts by itself, and others have configured; with what these start for themselves.
_LANGUAGE_SERVERS = frozenset((
    "astro-ls", "bash-language-server", "clangd", "clojure-lsp", "docker-langserver", "eslintServer.js",
    "fsautocomplete", "gopls", "intelephense", "jdtls", "lua-language-server", "nixd", "ocamllsp", "pylsp",
    "pyright-langserver", "roslyn-language-server", "ruff-lsp", "rust-analyzer",
    "rust-analyzer-proc-macro-srv", "solargraph", "sourcekit-lsp", "svelteserver", "terraform-ls", "texlab",
    "tinymist", "tsserver.js", "typescript-language-server", "typingsInstaller.js",
    "vscode-json-language-server", "vue-language-server", "yaml-language-server", "zls",
))  # fmt: skip

# What runs programs, and the words by which it does. `npm run` runs the scripts of a project: that is work.
_RUNNERS: Mapping[str, Collection[str]] = {
    "node": (), "nodejs": (), "python": (), "npx": (), "npx-cli.js": (), "uvx": (), "bunx": (),
    "npm": ("exec", "x"), "npm-cli.js": ("exec", "x"), "bun": ("x",), "deno": ("run",),
    "uv": ("run", "tool"),
}  # fmt: skip
# Options in front of the program. Of any other it is not known whether the word behind it is its value.
_PLAIN = frozenset(("--", "-y", "--yes", "-q", "--quiet", "-u", "-A", "--allow-all", "--no-warnings", "-m"))
_VALUED = frozenset(("--directory", "--project", "--python", "--from", "--with"))


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
    program = _program(process)
    if name(program) in _LANGUAGE_SERVERS:
        return True
    _, is_installed, package = program.rpartition("/node_modules/")
    if is_installed:
        return bool(_MCP.match(package.removeprefix(".bin/")))
    if _SCRIPT.search(program):
        return False
    return bool(_MCP.match(program if program.startswith("@") else name(program)))


def _program(process: ProcessFacts) -> str:
    """What decides what it is: behind a runner, its script or package; "" if that cannot be told."""
    title, *rest = process.argv or ("",)
    words = [name(process.executable), *rest] if any(rest) else [name(process.executable), *title.split()]
    verbs: Collection[str] = ()
    while words and (word := words.pop(0)):
        if word in _VALUED:
            del words[:1]
        elif word.startswith("-"):
            if word not in _PLAIN and "=" not in word:
                return ""
        elif word not in verbs:
            runner = name(word).rstrip(".0123456789")
            if runner not in _RUNNERS:
                return word
            verbs = _RUNNERS[runner]
    return ""
