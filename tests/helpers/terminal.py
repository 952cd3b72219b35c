"""A program on a terminal of its own, and somebody who types."""

import os
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from helpers.programs import until

PATIENCE = 60.0  # seconds; a busy machine


class Terminal:
    """What was shown so far is in `text`."""

    def __init__(self, terminal: int, program: int, process: "subprocess.Popen[bytes]") -> None:
        self._terminal = terminal  # our end
        self._program = program  # that of the program, which stays open, so that it can be read to its end
        self._process = process
        self.text = ""

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._program)[3] & termios.ECHO)

    def type_in_secret(self, prompt: str, text: str) -> None:
        """As soon as that is asked for: what is typed while it echoes would be thrown away."""
        until(lambda: prompt in self._read() and not self.echoes, f"'{prompt}'", PATIENCE)
        os.write(self._terminal, text.encode())

    def wait(self) -> int:
        """Until it has ended -> its exit status."""
        until(lambda: (self._read(), self._process.poll() is not None)[1], f"an end: {self.text}", PATIENCE)
        self._read()
        return self._process.wait()

    def _read(self) -> str:
        with suppress(BlockingIOError):
            while shown := os.read(self._terminal, 65536):
                self.text += shown.decode(errors="replace")
        return self.text


@contextmanager
def terminal(*command: str, environ: Mapping[str, str]) -> Iterator[Terminal]:
    """`command` makes it its controlling terminal (setsid --ctty)."""
    ours, theirs = os.openpty()
    try:
        os.set_blocking(ours, False)
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
            try:
                yield Terminal(ours, theirs, process)
            finally:
                if process.poll() is None:
                    process.kill()
    finally:
        os.close(ours)
        os.close(theirs)


def on_its_terminal(*command: str) -> Sequence[str]:
    return "setsid", "--ctty", "--wait", *command
