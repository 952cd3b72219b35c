#!/usr/bin/env python3
"""Fetches the real agent programs from npm, at the versions the adapters were checked with, into a cache."""

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Package:
    name: str
    version: str
    # Path of the command within the package, for a published bundle that contains its dependencies: unpacked
    # with the few it still loads it is a tenth of the size, and no sibling has to be had from the registry.
    bundle: str | None = None
    beside: tuple[str, ...] = ()

    @property
    def spec(self) -> str:
        return f"{self.name}@{self.version}"


PACKAGES = {
    "node": Package("node", "22"),
    "pi": Package("@earendil-works/pi-coding-agent", "1.5.2", "dist/bundle/cli.js", beside=("jiti@2.7.0",)),
    "pi-old": Package("@mariozechner/pi-coding-agent", "0.73.1"),
    "codex": Package("@openai/codex", "0.169.0"),
    "opencode": Package("opencode-ai", "1.18.33"),
    "gemini": Package("@google/gemini-cli", "0.61.0"),
}


def cache_dir() -> Path:
    if chosen := os.environ.get("MUSTERD_AGENT_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "musterd-agents"


def bin_dir(key: str) -> Path:
    """Where its command is: what a user would have on PATH."""
    return cache_dir() / key / "node_modules" / ".bin"


def is_installed(key: str) -> bool:
    try:
        return _stamp(key).read_text().strip() == PACKAGES[key].spec
    except FileNotFoundError:
        return False


def install(key: str) -> None:
    """Raises `subprocess.CalledProcessError` when npm cannot fetch it; a half-made copy is made again."""
    prefix = cache_dir() / key
    shutil.rmtree(prefix, ignore_errors=True)
    prefix.mkdir(parents=True)
    package = PACKAGES[key]
    wanted = package.beside if package.bundle else (package.spec,)
    _npm("install", "--prefix", str(prefix), "--no-fund", "--no-audit", *wanted)
    if package.bundle:
        _unpack(package.name, package.spec, bin_dir(key) / key, package.bundle)
    _stamp(key).write_text(package.spec + "\n")


def _unpack(name: str, spec: str, link: Path, command: str) -> None:
    modules = link.parent.parent
    tarball = modules / _npm("pack", "--silent", "--pack-destination", str(modules), spec).strip()
    subprocess.run(["tar", "-C", str(modules), "-xzf", str(tarball)], check=True)
    tarball.unlink()
    (modules / name).parent.mkdir()
    (modules / "package").rename(modules / name)
    link.symlink_to(f"../{name}/{command}")


def _npm(*arguments: str) -> str:
    command = ["npm", "--loglevel=error", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def _stamp(key: str) -> Path:
    return cache_dir() / key / ".complete"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("agent", nargs="*", help=f"one of {', '.join(PACKAGES)} (default: all)")
    wanted: list[str] = parser.parse_args().agent or list(PACKAGES)
    for key in wanted:
        if not is_installed(key):
            print(f"{PACKAGES[key].spec} -> {cache_dir() / key}", flush=True)
            install(key)
    return 0


if __name__ == "__main__":
    sys.exit(main())
