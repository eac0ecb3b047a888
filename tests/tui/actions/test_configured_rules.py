"""The rules in force are those of the configuration, for every key."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pgtop.audit.log import AuditLog
from pgtop.core.plan import SparedFor
from pgtop.demo.server import ThrowawayServer
from pgtop.reaping import reaper
from pgtop.reaping.plan_wording import spared_sentence
from pgtop.settings.defaults_and_bounds import Config
from pgtop.tui import opening
from tests.servers import session, sessions, wait_until
from tests.support.dashboards import count_stale, dashboard
from tests.support.targets import target_of


async def test_a_sweep_by_key_follows_all_rules_of_the_configuration(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """Whom it means, whom it never ends, and how many at most."""
    rules: dict[str, Any] = {"applications": ("web*",), "protect_applications": ("web-keep",)}
    async with (
        sessions(server, 3, application_name="web"),
        session(server, application_name="web-keep"),
        session(server, application_name="other"),
        dashboard(server, tmp_path / "a", max_per_sweep=2, **rules) as driven,
    ):
        await wait_until(lambda: count_stale(driven.shown) >= 5)
        await driven.press("S")
        dialog = await driven.dialog()
        assert [victim.backend.application_name for victim in dialog.plan.victims] == ["web", "web"]
        assert sorted(each.spared_for for each in dialog.plan.spared) == [
            SparedFor.BEYOND_MOST,
            SparedFor.NAMED,
        ]
        await driven.shows("1 protected", "1 beyond --max-per-sweep")


async def test_the_configured_transaction_age_counts_in_the_dialog(
    server: ThrowawayServer, tmp_path: Path
) -> None:
    """It is in the plan from the start; `i` drops it and adds it again with that very age."""
    async with (
        session(server, application_name="txn") as one,
        dashboard(server, tmp_path / "a", include_idle_in_transaction_seconds=0.5) as driven,
    ):
        await one.execute("BEGIN")
        await driven.select(one.get_server_pid())
        await driven.press("S")
        dialog = await driven.dialog()
        await driven.shows("exclude idle in txn")
        for expected in (0.5, None, 0.5):
            policy = dialog.plan.policy
            assert policy.include_idle_in_transaction_seconds == expected
            plan = dialog.plan
            await wait_until(lambda: dialog.is_armed)
            await driven.press("i")
            await wait_until(lambda plan=plan: dialog.plan is not plan)


@pytest.mark.parametrize("reason", list(SparedFor))
def test_every_reason_to_spare_a_session_is_worded(reason: SparedFor) -> None:
    for number in (1, 2):
        plan: Any = SimpleNamespace(spared=[SimpleNamespace(spared_for=reason)] * number)
        assert len(spared_sentence(plan)) > len(f"skipped: {number} ")


async def test_the_dashboards_audit_log_is_rotated_as_configured(
    server: ThrowawayServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    class Log(AuditLog):
        def __init__(self, *_: Any, **limits: Any) -> None:
            given.update(limits)
            raise LookupError

    monkeypatch.setattr(reaper, "AuditLog", Log)
    config = Config(audit_log=tmp_path / "a", audit_max_size_bytes=70_000, audit_keep=3)
    with pytest.raises(LookupError):
        await opening.run_dashboard(target_of(server), config)
    assert given == {"max_bytes": 70_000, "keep": 3}
