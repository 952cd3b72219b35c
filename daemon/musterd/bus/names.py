"""The names of musterd on the bus, and of the interfaces that the D-Bus specification defines."""

BUS_NAME = "org.musterd.Muster1"
ROOT = "/org/musterd/Muster1"
SESSIONS = f"{ROOT}/session/"

MANAGER = f"{BUS_NAME}.Manager"
SESSION = f"{BUS_NAME}.Session"
REAPER = f"{BUS_NAME}.Reaper"
STOP_GATE = f"{BUS_NAME}.StopGate"
WARDENS = f"{BUS_NAME}.Wardens"

PEER = "org.freedesktop.DBus.Peer"
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
STANDARD = (PEER, INTROSPECTABLE, PROPERTIES)  # on every object

# The same path and name for every service (org.freedesktop.LogControl1(5)).
LOG_CONTROL = "org.freedesktop.LogControl1"
LOG_CONTROL_PATH = "/org/freedesktop/LogControl1"


def session_path(session_id: str) -> str:
    return SESSIONS + label_escape(session_id)


def session_id_of(path: str) -> str | None:
    """The id behind an object path; None if the path is not one of a session."""
    if not path.startswith(SESSIONS):
        return None
    return label_unescape(path.removeprefix(SESSIONS))


def label_escape(text: str) -> str:
    """As sd_bus_path_encode(3): letters and digits stay, unless a digit comes first; the rest is _xx."""
    if not text:
        return "_"
    return "".join(
        chr(byte) if _is_plain(byte, first=number == 0) else f"_{byte:02x}"
        for number, byte in enumerate(text.encode("utf-8", "surrogatepass"))
    )


def label_unescape(label: str) -> str | None:
    """The reverse; None for a label that no text escapes to."""
    if label == "_":
        return ""
    raw = bytearray()
    rest = label
    while rest:
        if rest[0] == "_":
            try:
                raw.append(int(rest[1:3], 16))
            except ValueError:
                return None
            rest = rest[3:]
        else:
            raw += rest[0].encode()
            rest = rest[1:]
    text = raw.decode("utf-8", "replace")
    return text if label_escape(text) == label else None


def _is_plain(byte: int, *, first: bool) -> bool:
    char = chr(byte)
    return char.isascii() and (char.isalpha() or (char.isdigit() and not first))
