"""Clusters made by copying: `initdb` costs two seconds of a processor, a copy in memory a tenth of one."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from pgtop.demo.server import Auth, ThrowawayServer


class ClusterTemplates:
    """One template a version and a way to ask for passwords, each made when it is first wanted."""

    def __init__(self) -> None:
        self._made: dict[tuple[Path, Auth], ThrowawayServer] = {}

    def of(self, bin_dir: Path, auth: Auth) -> ThrowawayServer:
        """Return the template of these programs."""
        if (bin_dir, auth) not in self._made:
            template = ThrowawayServer(bin_dir, auth=auth)
            try:
                template.make()
            except BaseException:
                template.close()
                raise
            self._made[bin_dir, auth] = template
        return self._made[bin_dir, auth]

    def close(self) -> None:
        """Remove them all."""
        while self._made:
            _, template = self._made.popitem()
            template.close()


class CopiedServer(ThrowawayServer):
    """A server on a copy of a template: it shares the template's system identifier and passwords."""

    def __init__(self, template: ThrowawayServer, *, settings: Mapping[str, str] | None = None) -> None:
        super().__init__(template.bin_dir, settings=settings, auth=template.auth)
        self.password = template.password
        self._template = template

    def make_cluster(self, password_file: Path) -> None:
        self.log_path.touch(0o600)
        # cp keeps the owner, which is another user where the suite runs as root.
        subprocess.run(["cp", "-a", f"{self._template.data_dir}/.", str(self.data_dir)], check=True)


def make_standby(server: ThrowawayServer) -> None:
    """Begins it again as a standby without a primary, which takes queries."""
    server.stop()
    mark = server.data_dir / "standby.signal"
    mark.touch()
    owner = server.data_dir.stat()
    os.chown(mark, owner.st_uid, owner.st_gid)
    server.settings["hot_standby"] = "on"
    server.start()
