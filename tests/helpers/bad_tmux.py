"""A socket that looks like a tmux server's, and behaves as its argument says: hang, flood or garbage."""

import os
import socket
import sys
from contextlib import suppress

path, way = sys.argv[1:]
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
    server.bind(path)
    server.listen(64)
    print("ready", flush=True)
    clients = []
    while True:
        client, _ = server.accept()
        clients.append(client)
        client.settimeout(0.5)
        with suppress(OSError):
            while way == "flood":
                client.sendall(os.urandom(65536))
            if way == "garbage":
                client.sendall(b"\0" * 4096 + b"P %1 x y z\n" * 100)
