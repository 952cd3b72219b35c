#!/usr/bin/env python3
"""usage: install.py DESTDIR PREFIX LIBRARY

Puts musterd below DESTDIR/PREFIX. LIBRARY is where the package dbus_fast is: its Python part is carried
along, since no distribution has one that is new enough; its compiled parts are not: this suits any Python.
"""

import re
import shutil
import sys
import tomllib
from pathlib import Path

sys.dont_write_bytecode = True  # not into the checkout, where root may run this

from manpages import aliases, pages  # noqa: E402 - not before that

ROOT = Path(__file__).resolve().parents[1]

# What is below the checkout, and where it goes below the prefix.
FILES = (
    ("units/*.service", "lib/systemd/system"),
    ("units/user/*.service", "lib/systemd/user"),
    ("packaging/musterd.catalog", "lib/systemd/catalog"),
    ("dbus/org.musterd.*.xml", "share/dbus-1/interfaces"),  # systemd brings that of LogControl1 itself
    ("dbus/*.conf", "share/dbus-1/system.d"),
    ("dbus/*.service", "share/dbus-1/system-services"),
    ("dbus/*.policy", "share/polkit-1/actions"),
    ("dbus/*.rules", "share/polkit-1/rules.d"),
    ("packaging/completions/_musterctl", "share/zsh/vendor-completions"),
    ("packaging/completions/*.fish", "share/fish/vendor_completions.d"),
    ("packaging/musterd-notify.desktop", "share/applications"),
)
RENAMED = (
    ("units/musterd.sysusers", "lib/sysusers.d/musterd.conf"),
    ("packaging/completions/musterctl.bash", "share/bash-completion/completions/musterctl"),
)

HOOK = ROOT / "daemon/musterd-hook"  # a shell script, and stays one

# Not for people to start: beside the library, not among the programs.
PRIVATE = {"musterd-warden"}

# Isolated: no environment variable and no directory of a user's says where modules come from.
PROGRAM = """\
#!/usr/bin/python3 -I
import sys

sys.path.insert(0, "{library}")

from {module} import {function}

sys.exit({function}())
"""


def main(destdir: str, prefix: str, library: str) -> None:
    root = Path(f"{destdir}{prefix}")
    install_library(root / "lib/musterd", Path(library))
    install_programs(root, prefix)
    for pattern, directory in FILES:
        for file in sorted(ROOT.glob(pattern)):
            install_file(file, root / directory / file.name, prefix)
    for name, target in RENAMED:
        install_file(ROOT / name, root / target, prefix)
    for name, page in (*pages(), *aliases()):
        install_text(page, root / f"share/man/man{name[-1]}/{name}", prefix)
    install_file(ROOT / "units/musterd.toml", Path(f"{destdir}/etc/musterd/musterd.toml"), prefix)


def install_library(target: Path, library: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pxd")
    for source in (ROOT / "daemon/musterd", library / "dbus_fast"):
        shutil.rmtree(target / source.name, ignore_errors=True)
        shutil.copytree(source, target / source.name, ignore=ignored)
    for file in (
        target / "musterd/bus/interfaces"
    ).iterdir():  # a link in the checkout, to all that is in dbus/
        if file.suffix != ".xml":
            file.unlink()
    for file in target.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)


def install_programs(root: Path, prefix: str) -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, entry in scripts.items():
        module, _, function = entry.partition(":")
        program = root / ("lib/musterd" if name in PRIVATE else "bin") / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(PROGRAM.format(library=f"{prefix}/lib/musterd", module=module, function=function))
        program.chmod(0o755)
    hook = root / "bin" / HOOK.name
    shutil.copyfile(HOOK, hook)
    hook.chmod(0o755)


def install_file(source: Path, target: Path, prefix: str) -> None:
    install_text(source.read_text(), target, prefix)


def install_text(text: str, target: Path, prefix: str) -> None:
    """Units and the like name programs below /usr."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(re.sub(r"/usr/(bin|lib/musterd)\b", rf"{prefix}/\1", text))
    target.chmod(0o644)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
