"""The message that the process of the workload gets on its stdin."""

import msgspec


class Parameters(msgspec.Struct, frozen=True):
    """The server, the way in, and the scenario to play."""

    admin_uri: str
    """The superuser's login, to set up the shop."""
    admin_password: str
    """The superuser's password, if one is asked for."""
    host: str
    port: int
    password: str
    """The password of every role but the superuser."""
    version: int
    """The server's major version."""
    slots: int
    """The number of slots that ordinary roles can use; the pools are sized by it."""
    leak_every_seconds: float
    scenario: str = "leak"

    @property
    def web_sessions(self) -> int:
        """The size of the web server's pool."""
        return max(2, min(8, self.slots // 6))

    @property
    def api_sessions(self) -> int:
        """The number of sessions that a burst of the API takes."""
        return max(2, min(5, self.slots // 10))

    def pool_size(self, share: float, hosts: int) -> int:
        """Return the size of a pool of which that many hosts hold a share of the slots together."""
        return max(2, int(share * self.slots / hosts))
