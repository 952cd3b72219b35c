"""A bus as strict as the system's, with our policy on top of it."""

import subprocess
from pathlib import Path

from helpers.private_bus import PrivateBus

POLICY = Path(__file__).parents[2] / "dbus" / "org.musterd.Muster1.conf"

SYSTEM_BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
 <type>system</type>
 <listen>unix:path={path}</listen>
 <auth>EXTERNAL</auth>
 <policy context="default">
  <allow user="*"/>
  <deny own="*"/>
  <deny send_type="method_call"/>
  <allow send_type="signal"/>
  <allow send_requested_reply="true" send_type="method_return"/>
  <allow send_requested_reply="true" send_type="error"/>
  <allow receive_type="method_call"/>
  <allow receive_type="method_return"/>
  <allow receive_type="error"/>
  <allow receive_type="signal"/>
  <allow send_destination="org.freedesktop.DBus"/>
  <allow send_destination="org.freedesktop.systemd1"/>
  <allow send_destination="org.freedesktop.PolicyKit1"/>
  <allow send_destination="org.freedesktop.login1"
         send_interface="org.freedesktop.DBus.Properties" send_member="Get"/>
 </policy>
 <policy user="{root}">
  <allow own="org.freedesktop.systemd1"/>
  <allow own="org.freedesktop.PolicyKit1"/>
  <allow own="org.freedesktop.login1"/>
 </policy>
 <include>{policy}</include>
</busconfig>
"""


class PolicedBus(PrivateBus):
    """`root` and `musterd` are the users that stand for those of the policy."""

    def __init__(self, path: Path, *, root: int, musterd: int) -> None:
        super().__init__(path)
        self._users = {"root": root, "musterd": musterd}

    def start(self) -> None:
        policy, config = self.path.with_name("policy.conf"), self.path.with_name("bus.conf")
        text = POLICY.read_text()
        for name, uid in self._users.items():
            text = text.replace(f'user="{name}"', f'user="{uid}"')
        policy.write_text(text)
        config.write_text(SYSTEM_BUS.format(path=self.path, policy=policy, root=self._users["root"]))
        command = ["dbus-daemon", "--nofork", "--nopidfile", f"--config-file={config}", "--print-address"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            assert lines.readline().startswith(b"unix:"), "dbus-daemon does not take the policy"
