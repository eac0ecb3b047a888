"""The detail of a backend: what matters of each fact is there at 80 columns."""

from pathlib import Path

from pgtop.core.text import cell_width
from pgtop.demo.server import ThrowawayServer
from pgtop.postgres.backend_detail import backend_detail
from pgtop.tui.screens.detail import detail_lines
from tests.servers import session
from tests.support.dashboards import dashboard
from tests.support.reaping import face_on, found


async def test_ages_are_whole_at_80_columns(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server) as one:
        await one.execute("BEGIN; SELECT FROM pg_class LIMIT 1")
        async with dashboard(server, tmp_path / "a", size=(80, 40)) as driven:
            await driven.select(one.get_server_pid())
            await driven.press("enter")
            await driven.shows("idle in transaction for ", "session began", "last query")
            assert "…" not in next(line for line in driven.text.splitlines() if "transaction for" in line)


async def test_the_locked_object_is_named_once(server: ThrowawayServer, tmp_path: Path) -> None:
    async with session(server) as one, face_on(server, tmp_path / "a") as face:
        await one.execute("BEGIN; LOCK TABLE pg_am IN SHARE MODE; SELECT txid_current()")
        detail = await backend_detail(face.own_connection, found(await face.snapshot(), one).id)
        assert detail is not None
        lines = ["".join(cell.text for cell in line) for line in detail_lines(detail, 69)]
        text = "\n".join(lines)
        assert "ShareLock on relation " in text
        assert "relation relation" not in text
        assert "on transaction " in text
        assert all(cell_width(line) <= 69 for line in lines)
        await one.execute("ROLLBACK")
