"""What is installed works without the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOOK = ROOT / "daemon/musterd-hook"


def test_installed_package_carries_its_contract(tmp_path: Path) -> None:
    """Built from a copy, since building writes into the source tree."""
    source, site = tmp_path / "source", tmp_path / "site"
    for part in ("daemon", "dbus"):
        shutil.copytree(
            ROOT / part,
            source / part,
            symlinks=True,
            ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"),
        )
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(source)],
        check=True, capture_output=True,
    )  # fmt: skip
    assert (site / "bin/musterd-hook").read_bytes() == HOOK.read_bytes()
    assert os.access(site / "bin/musterd-hook", os.X_OK)
    program = (
        "from musterd.bus.contract import Contract; import musterd;"
        "print(musterd.__file__, 'org.musterd.Muster1.Manager' in Contract.load().interfaces)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PYTHONPATH": str(site)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(site / "musterd/__init__.py"), "True"]
