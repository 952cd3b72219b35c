"""Keeps OpenSSL out of our programs: to be imported before anything else.

asyncio and hashlib load it where they can, which is 4 MiB in every process. Nobody here speaks TLS, and the
digests that we take come with Python itself.
"""

import sys
from importlib.util import find_spec

_DIGESTS = (
    "_md5",
    "_sha1",
    "_sha3",
    "_blake2",
    *(("_sha2",) if find_spec("_sha2") else ("_sha256", "_sha512")),
)


def leave_out(name: str) -> None:
    """Let every import of it fail as if it was not there, unless it is loaded already."""
    # The language reference, "The import system", section "The module cache".
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]  # typeshed knows modules only


leave_out("ssl")
if all(map(find_spec, _DIGESTS)):  # a distribution may have built Python to rely on OpenSSL for them
    leave_out("_hashlib")
