#!/usr/bin/env python3
"""Prints musterd.toml(5), from the table in the code and the defaults as the example file writes them."""

import re
import sys
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

HEAD = r""".TH MUSTERD.TOML 5 "" "musterd 0.1.0" "musterd.toml"
.\" Made by packaging/config_page.py; a test tells when it is old.
.SH NAME
musterd.toml \- configuration of musterd
.SH SYNOPSIS
.I /etc/musterd/musterd.toml
.br
.I /etc/musterd/musterd.toml.d/*.toml
.PP
.I ~/.config/musterd/musterd.toml
.RB ( "musterd \-\-user" )
.SH DESCRIPTION
TOML files. Drop\-ins are read after the main file, in the order of their names; later ones win key by key.
What is not set has its default.
.PP
Time spans are numbers of seconds, or texts as
.BR systemd.time (7)
takes them: "90s", "10min". Sizes are numbers of bytes, or texts such as "64M".
.PP
A bad value is warned of, and leaves the value that was there before. All mistakes are told at once by
.BR "musterd \-\-check\-config" .
After a change:
.BR "systemctl reload musterd" ,
which takes the new configuration only if there is no mistake in it.
"""

TAIL = r""".SH SEE ALSO
.BR musterd (8),
.BR musterctl (1)
"""


def page() -> str:
    sys.path.insert(0, str(ROOT / "daemon"))
    from musterd.core.config import options

    shown = defaults((ROOT / "units/musterd.toml").read_text())
    parts = [HEAD]
    for section, rows in groupby(options(), key=lambda option: option.section):
        parts.append(f".SH SECTION [{section.upper()}]\n")
        for row in rows:
            default = escape(shown[section, row.key])
            parts.append(f'.TP\n.B {escape(row.key)}\n{escape(row.help)}\nDefault:\n.BR "{default}" .\n')
    return "".join([*parts, TAIL])


def defaults(example: str) -> dict[tuple[str, str], str]:
    section, found = "", {}
    for line in example.splitlines():
        if header := re.fullmatch(r"\[(.+)\]", line):
            section = header[1]
        elif option := re.fullmatch(r"#([a-z-]+) = (.+?)( +#.*)?", line):
            found[section, option[1]] = option[2]
    return found


def escape(text: str) -> str:
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace('"', r"\(dq")
    return rf"\&{text}" if text.startswith(".") else text


if __name__ == "__main__":
    sys.stdout.write(page())
