"""The mutants: small changes of what is ended or logged, each with the tests that are to notice it."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """One change, and where it is to be noticed."""

    path: str
    old: str
    """Stands exactly once in the file."""
    new: str
    tests: tuple[str, ...]


POLICY = ("tests/core/test_policy.py",)
REAPER = ("tests/core/test_policy.py", "tests/reaping/test_reaper.py", "tests/reaping/test_outcomes.py")
AUDIT = ("tests/audit/test_log.py", "tests/reaping/test_reaper.py", "tests/reaping/test_outcomes.py")
RUNS = ("tests/reaping/test_run_in_the_audit.py",)
POLICY_RUNS = ("tests/reaping/test_automatic.py",)
AUDIT_COMMAND = ("tests/commands/test_audit.py",)
LEADERS = ("tests/core/test_leadership.py", "tests/reaping/test_automatic.py")
HOST = (
    "tests/postgres/host/test_titles.py",
    "tests/core/test_break_glass_plan.py",
    "tests/postgres/host/test_watcher.py",
    "tests/postgres/host/test_misleading_names.py",
    "tests/postgres/host/test_sessions_at_work.py",
    "tests/postgres/host/test_stalled_logins.py",
)
PEERS = ("tests/postgres/session/test_several_servers.py",)
DIAGNOSIS = (
    "tests/core/diagnosis/test_steady.py",
    "tests/core/diagnosis/test_traffic.py",
    "tests/core/diagnosis/test_kinds.py",
)
DIAGNOSIS_SCREEN = ("tests/tui/screens/test_diagnosis.py",)
OVER_RECORDING = ("tests/core/diagnosis/test_over_recording.py",)
SCRUBBING = (
    "tests/core/test_scrubbing.py",
    "tests/history/test_recordings.py",
    "tests/history/test_scrubbed_file.py",
)
CANARY = ("tests/core/test_canary.py", "tests/reaping/test_canary.py")


MUTANTS = (
    Mutant(
        "pgtop/core/policy.py",
        "if backend.is_hidden:\n        return Spared",
        "if False:\n        return Spared",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py",
        "if backend.is_superuser and not context.privileges.is_superuser:",
        "if False:",
        REAPER,
    ),
    Mutant("pgtop/core/policy.py", "    if protection is not None:", "    if False:", POLICY),
    Mutant(
        "pgtop/core/name_patterns.py",
        "may_go_on = was_cut and (protects or",
        "may_go_on = was_cut and (False or",
        ("tests/core/test_name_patterns.py",),
    ),
    Mutant(
        "pgtop/core/name_patterns.py",
        "for classes in (True, False) for form",
        "for classes in (True,) for form",
        ("tests/postgres/test_shown_names.py",),
    ),
    Mutant(
        "pgtop/core/name_patterns.py",
        "names = _as_other_encodings(shown) if protects else (shown,)",
        "names = (shown,)",
        ("tests/postgres/test_shown_names.py",),
    ),
    Mutant(
        "pgtop/core/policy.py",
        "if scope is None or id_ in scope.sessions",
        "if True",
        ("tests/tui/screens/test_plan_dialog.py",),
    ),
    Mutant(
        "pgtop/core/policy.py",
        "age <= limit or not policy.only.admit(backend)",
        "age < limit - 1 or not policy.only.admit(backend)",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py",
        "age <= limit or not policy.only.admit(backend)",
        "age <= limit",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py", "if policy.protected.name_anybody and backend", "if False and backend", POLICY
    ),
    Mutant(
        "pgtop/core/policy.py", "and policy.only.name_anybody and backend", "and False and backend", POLICY
    ),
    Mutant("pgtop/core/policy.py", "limit = asked", "limit = 0.0", POLICY),
    Mutant(
        "pgtop/core/activity.py",
        "return self.taken >= self.slots",
        "return self.taken > self.slots",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py",
        "session_count(snapshot) / snapshot.slots > policy.warn_at",
        "session_count(snapshot) / snapshot.slots >= policy.warn_at",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py",
        "(taken - needed) / plan.slots >= plan.warn_at",
        "(taken - needed) / plan.slots > plan.warn_at",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py",
        "return at_most(plan, policy.max_per_sweep, SparedFor.BEYOND_MOST)\n\n\ndef plan_emergency",
        "return plan\n\n\ndef plan_emergency",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py",
        "key=lambda each: (each.state_change or 0, each.pid)",
        "key=lambda each: (-(each.state_change or 0), each.pid)",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py",
        "if backend.state in IN_TRANSACTION and backend.xact_start is not None:\n        return",
        "if False:\n        return",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py",
        "if backend.state == IDLE or backend.state in IN_TRANSACTION:\n        return Guard.STATE",
        "if False:\n        return Guard.STATE",
        POLICY,
    ),
    Mutant(
        "pgtop/core/policy.py",
        "if backend.state != ACTIVE or backend.query_start is None:",
        "if backend.state != ACTIVE:",
        POLICY,
    ),
    Mutant("pgtop/core/policy.py", "for each in dict.fromkeys(selected)", "for each in selected", POLICY),
    Mutant("pgtop/core/plan.py", "self.act is Act.TERMINATE else 0", "True else 0", POLICY),
    Mutant("pgtop/core/name_patterns.py", "return text.lower() if protects else text", "return text", POLICY),
    Mutant(
        "pgtop/core/session_patterns.py",
        'not globs or any(is_identifier(glob, name or "") for glob in globs)',
        'any(is_identifier(glob, name or "") for glob in globs)',
        POLICY,
    ),
    Mutant(
        "pgtop/core/session_patterns.py",
        "not self.addresses or _network_of(address(backend), self.addresses) is not None",
        "True",
        POLICY,
    ),
    Mutant(
        "pgtop/core/session_patterns.py",
        "if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:",
        "if False:",
        ("tests/core/test_policy.py", "pgtop/core/session_patterns.py"),
    ),
    Mutant(
        "pgtop/reaping/reaper.py",
        "if self.read_only:\n            raise ReadOnlyError",
        "if False:\n            raise ReadOnlyError",
        REAPER,
    ),
    Mutant(
        "pgtop/reaping/reaper.py",
        "        written = await self._write(lines, whole=True)",
        "        written = _Written()",
        REAPER,
    ),
    Mutant("pgtop/reaping/reaper.py", "rescue=termination.is_rescue,", "rescue=False,", AUDIT),
    Mutant(
        "pgtop/reaping/reaper.py",
        "query=_cut(termination.queries.get(backend.id, backend.query)),",
        "query=backend.query,",
        AUDIT,
    ),
    Mutant(
        "pgtop/reaping/reaper.py",
        "else cut(query, LONGEST_QUERY_BYTES)",
        "else query",
        ("tests/postgres/test_odd_names.py",),
    ),
    Mutant("pgtop/reaping/reaper.py", "role=termination.role,", "role=None,", AUDIT),
    Mutant("pgtop/reaping/reaper.py", "outcome=result.outcome.value,", 'outcome="terminated",', AUDIT),
    Mutant("pgtop/reaping/reaper.py", "detail=masked(result.detail) or None,", "detail=None,", AUDIT),
    Mutant("pgtop/reaping/reaper.py", "trigger=plan.trigger,", 'trigger="always",', AUDIT),
    Mutant("pgtop/reaping/reaper.py", "decided_by=decided_by,", "decided_by=None,", RUNS),
    Mutant("pgtop/reaping/reaper.py", "usage_after=usage,", "usage_after=None,", RUNS),
    Mutant("pgtop/reaping/reaper.py", "taken / plan.slots", "plan.usage_after", RUNS),
    Mutant(
        "pgtop/reaping/reaper.py",
        "blocked_sessions=termination.blocked.get(backend.id),",
        "blocked_sessions=0,",
        RUNS,
    ),
    Mutant("pgtop/postgres/terminate.py", "if not plan.may_block:", "if True:", RUNS),
    Mutant("pgtop/postgres/terminate.py", "if not plan.may_block:", "if False:", RUNS),
    Mutant("pgtop/audit/reader.py", "outcome.usage_after, outcome.time", "None, outcome.time", AUDIT_COMMAND),
    Mutant(
        "pgtop/commands/audit/report.py", "    _check_servers(question)\n    try", "    try", AUDIT_COMMAND
    ),
    Mutant(
        "pgtop/commands/standard_streams.py",
        "shutil.get_terminal_size((80, 24)).columns",
        "80",
        AUDIT_COMMAND,
    ),
    Mutant("pgtop/reaping/automatic.py", "DecidedBy.POLICY)", "DecidedBy.PERSON)", POLICY_RUNS),
    Mutant("pgtop/reaping/reaper.py", "act=plan.act,", 'act="terminate",', AUDIT),
    Mutant("pgtop/reaping/reaper.py", "reason=victim.reason,", 'reason="",', AUDIT),
    Mutant(
        "pgtop/reaping/reaper.py",
        "denied = self.count(Outcome.DENIED) == len(self.results)",
        "denied = self.count(Outcome.DENIED) > 0",
        REAPER,
    ),
    Mutant(
        "pgtop/reaping/reaper.py",
        "done = {Outcome.TERMINATED, Outcome.CANCELLED, Outcome.CHANGED}",
        "done = {Outcome.TERMINATED, Outcome.CANCELLED}",
        REAPER,
    ),
    Mutant(
        "pgtop/reaping/reaper.py",
        "for identity in pending.keys() - there:",
        "for identity in set(pending):",
        REAPER,
    ),
    Mutant("pgtop/reaping/reaper.py", "if plan.refusal or not plan.victims:", "if not plan.victims:", REAPER),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "  AND a.pid OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()\n",
        "",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "WHERE a.backend_start OPERATOR(pg_catalog.=) $2::pg_catalog.timestamptz\n  AND a.backend_type",
        "WHERE $2::pg_catalog.timestamptz IS NOT NULL\n  AND a.backend_type",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "  AND a.backend_type OPERATOR(pg_catalog.=) 'client backend'\n",
        "",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "({IS_SUPERUSER} OR NOT coalesce(r.rolsuper, false))",
        "true",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "  AND pg_catalog.pg_postmaster_start_time() OPERATOR(pg_catalog.=) $3::pg_catalog.timestamptz\n",
        "  AND $3::pg_catalog.timestamptz IS NOT NULL\n",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "  AND pg_catalog.pg_is_in_recovery() OPERATOR(pg_catalog.=) $4::boolean\n",
        "  AND $4::boolean IS NOT NULL\n",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "  AND a.state OPERATOR(pg_catalog.=) $5::pg_catalog.text\n",
        "  AND $5::pg_catalog.text IS NOT NULL\n",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "  AND a.state_change OPERATOR(pg_catalog.=) $6::pg_catalog.timestamptz\n",
        "  AND $6::pg_catalog.timestamptz IS NOT NULL\n",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "  AND a.xact_start OPERATOR(pg_catalog.=) $5::pg_catalog.timestamptz\n",
        "  AND $5::pg_catalog.timestamptz IS NOT NULL\n",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/queries/terminate.py",
        "  AND a.query_start OPERATOR(pg_catalog.=) $5::pg_catalog.timestamptz\n",
        "  AND $5::pg_catalog.timestamptz IS NOT NULL\n",
        REAPER,
    ),
    Mutant(
        "pgtop/postgres/terminate.py",
        "if plan.interruptions != self._own_connection.interruptions:",
        "if False:",
        (
            "tests/reaping/test_reaper.py",
            "tests/tui/actions/test_plan_expiry.py",
            "tests/tui/test_server_faults.py",
        ),
    ),
    Mutant(
        "pgtop/postgres/terminate.py",
        "if not self._own_connection.is_held or self._own_connection.own_pid != self._connection_pid:",
        "if not self._own_connection.is_held:",
        AUDIT,
    ),
    Mutant(
        "pgtop/postgres/terminate.py",
        "if self._own_connection.own_pid != self._connection_pid:\n            raise ConnectionLostError",
        "if False:\n            raise ConnectionLostError",
        AUDIT,
    ),
    Mutant(
        "pgtop/postgres/terminate.py",
        "return bool(row.state == ACTIVE and row.query_start == backend.query_start)",
        "return bool(row.state == ACTIVE)",
        REAPER,
    ),
    Mutant("pgtop/postgres/terminate.py", 'if not row["signalled"]:', "if False:", AUDIT),
    Mutant(
        "pgtop/postgres/terminate.py",
        "if victim.guard is Guard.TRANSACTION:",
        "if False:",
        REAPER,
    ),
    Mutant("pgtop/postgres/terminate.py", "if victim.guard is Guard.STATE:", "if False:", REAPER),
    Mutant(
        "pgtop/audit/log.py",
        "user = pwd.getpwuid(os.getuid()).pw_name",
        'user = os.environ.get("USER", "")',
        AUDIT,
    ),
    Mutant(
        "pgtop/audit/rotating_files.py",
        "            os.fsync(descriptor)\n        except",
        "        except",
        AUDIT,
    ),
    Mutant(
        "pgtop/audit/rotating_files.py",
        "                    os.ftruncate(descriptor, size)",
        "                    pass",
        AUDIT,
    ),
    Mutant("pgtop/audit/rotating_files.py", "_after_torn_line(descriptor, size) + data", "data", AUDIT),
    Mutant("pgtop/audit/rotating_files.py", "if not _is_named(descriptor, place):", "if False:", AUDIT),
    Mutant(
        "pgtop/core/policy.py",
        "or backend.pid in context.held.own:",
        "or backend.is_pgtop:",
        REAPER,
    ),
    Mutant(
        "pgtop/core/stalled_logins.py",
        "or sessions / slots >= min(warn_at, 1.0)",
        "",
        ("tests/core/test_stalled_logins.py",),
    ),
    Mutant(
        "pgtop/core/stalled_logins.py",
        "(refusing is not None and refusing.is_the_servers)",
        "(refusing is not None)",
        ("tests/core/test_stalled_logins.py",),
    ),
    Mutant(
        "pgtop/core/policy.py",
        "plan = at_most(plan, 1, SparedFor.STALL)",
        "pass",
        ("tests/core/test_stalled_logins.py",),
    ),
    Mutant(
        "pgtop/reaping/automatic.py",
        "if asked.stall is not None and self._stall.is_tried:",
        "if False:",
        ("tests/reaping/test_automatic.py", "tests/daemon/test_refused_logins.py"),
    ),
    Mutant("pgtop/core/leadership.py", "    if not key.is_shared:", "    if False:", LEADERS),
    Mutant("pgtop/core/leadership.py", "if not (key.may_signal or key.is_same_role):", "if False:", LEADERS),
    Mutant(
        "pgtop/core/leadership.py",
        "if not (key.may_signal or key.is_same_role):",
        "if not key.may_signal:",
        LEADERS,
    ),
    Mutant(
        "pgtop/core/leadership.py",
        "silent is None or silent > key.promise_seconds",
        "silent is None",
        LEADERS,
    ),
    Mutant(
        "pgtop/core/leadership.py",
        "(not each.may_signal, each.backend_start, each.pid)",
        "(not each.may_signal, -each.backend_start, each.pid)",
        LEADERS,
    ),
    Mutant(
        "pgtop/core/leadership.py",
        "if not key.application_name.startswith(PGTOP_PREFIX):",
        "if False:",
        LEADERS,
    ),
    Mutant(
        "pgtop/core/leadership.py",
        "return now - seen_at > promise_seconds * MICROSECONDS",
        "return False",
        LEADERS,
    ),
    Mutant(
        "pgtop/postgres/queries/advisory_keys.py",
        "  AND ({_MAY_SIGNAL} OR {_IS_SAME_ROLE})\n",
        "",
        ("tests/reaping/test_reaper.py",),
    ),
    Mutant(
        "pgtop/postgres/queries/advisory_keys.py",
        "WHERE pg_catalog.starts_with(a.application_name, 'pgtop '::pg_catalog.text)\n  AND",
        "WHERE",
        ("tests/reaping/test_reaper.py",),
    ),
    Mutant(
        "pgtop/reaping/automatic.py",
        "            await self._resign(Unfit.AUDIT, turn, snapshot)\n",
        "",
        LEADERS,
    ),
    Mutant(
        "pgtop/reaping/automatic.py",
        "            return await self._resign(Unfit.DENIED, turn, snapshot)\n",
        "            return turn\n",
        LEADERS,
    ),
    Mutant(
        "pgtop/reaping/automatic.py",
        "return turn if stays else await self._resign(unfit, turn, snapshot)",
        "return turn",
        LEADERS,
    ),
    Mutant("pgtop/postgres/host/terminate.py", "            and process.parent == server.pid\n", "", HOST),
    Mutant(
        "pgtop/postgres/host/terminate.py",
        "            and process.started_ticks == mark.started_ticks\n",
        "",
        HOST,
    ),
    Mutant(
        "pgtop/postgres/host/watcher.py",
        "return proc.read_process(pid, frozenset({self.server.uid}))",
        "return proc.read_process(pid, frozenset(proc.users(pid)))",
        HOST,
    ),
    Mutant(
        "pgtop/postgres/host/terminate.py",
        "if process is None or process.is_cut_off:",
        "if process is None:",
        HOST,
    ),
    Mutant("pgtop/postgres/host/terminate.py", " and who == mark.who and ", " and ", HOST),
    Mutant("pgtop/postgres/host/terminate.py", " and title.activity == backend.state\n", "\n", HOST),
    Mutant(
        "pgtop/postgres/host/terminate.py",
        "if len(found) != 1 or found[0].is_unanswered:",
        "if len(found) != 1:",
        HOST,
    ),
    Mutant(
        "pgtop/postgres/host/terminate.py",
        "return abs(moved) >= SENT_TOLERANCE_MICROSECONDS",
        "return False",
        HOST,
    ),
    Mutant("pgtop/postgres/host/terminate.py", "if proc.last_run(backend.pid) != ran:", "if False:", HOST),
    Mutant(
        "pgtop/postgres/host/terminate.py",
        "if backend.idle_at_least and ran != mark.last_run:",
        "if False:",
        HOST,
    ),
    Mutant("pgtop/postgres/host/terminate.py", "signal.SIGTERM)", "signal.SIGKILL)", HOST),
    Mutant(
        "pgtop/postgres/host/terminate.py",
        "takes_usr2(backend.pid) != (False, True)",
        "False",
        HOST,
    ),
    Mutant("pgtop/postgres/host/terminate.py", "process.command_line != mark.command_line", "False", HOST),
    Mutant(
        "pgtop/core/break_glass_plan.py",
        "    if spared is not None:\n        return spared\n"
        '    if backend.state == DISABLED:\n        reason = "its title does not show',
        '    if backend.state == DISABLED:\n        reason = "its title does not show',
        HOST,
    ),
    Mutant(
        "pgtop/core/break_glass_plan.py",
        '    if backend.state == DISABLED:\n        reason = "its state is unknown',
        '    if False:\n        reason = "its state is unknown',
        HOST,
    ),
    Mutant("pgtop/postgres/host/titles.py", "LAST_OF_A_LOGIN: DISABLED", "LAST_OF_A_LOGIN: STARTING", HOST),
    Mutant(
        "pgtop/postgres/session/login_probe.py",
        "target, peer = own_connection.here",
        "target, peer = own_connection.target",
        PEERS,
    ),
    Mutant("pgtop/postgres/session/login_probe.py", "if peer != own_connection.peer:", "if False:", PEERS),
    Mutant(
        "pgtop/postgres/session/own_connection.py",
        "limit_at(session.peer, refused)",
        "refusing_limit(refused)",
        PEERS,
    ),
    Mutant(
        "pgtop/postgres/session/own_connection.py",
        "limit_at(self.peer, error)",
        "refusing_limit(error)",
        PEERS,
    ),
    Mutant("pgtop/postgres/session/own_connection.py", "if session.peer != old.peer:", "if False:", PEERS),
    Mutant("pgtop/login_watch.py", "if peer != self._known_of:", "if False:", PEERS),
    Mutant(
        "pgtop/core/diagnosis/steady.py",
        "first = msgspec.structs.replace(first, remedy=None)",
        "pass",
        DIAGNOSIS,
    ),
    Mutant("pgtop/core/diagnosis/steady.py", "or first.kind in _OF_STATES or", "or", DIAGNOSIS),
    Mutant("pgtop/core/diagnosis/traffic.py", "minute.closed.subtract(_keys(each))", "pass", DIAGNOSIS),
    Mutant(
        "pgtop/core/diagnosis/traffic.py",
        "            if each.id in leaked:",
        "            if True:",
        DIAGNOSIS,
    ),
    Mutant(
        "pgtop/core/diagnosis/kinds/lock_queue.py",
        "return Remedy(Act.CANCEL, (chain.head.id,), said)",
        "return Remedy(Act.TERMINATE, (chain.head.id,), said)",
        DIAGNOSIS_SCREEN,
    ),
    Mutant(
        "pgtop/tui/screens/diagnosis.py",
        "if self._read_only:\n            self._tell(RECORDING_SAID",
        "if False:\n            self._tell(RECORDING_SAID",
        DIAGNOSIS_SCREEN,
    ),
    Mutant("pgtop/core/canary.py", "and not self.came_back", "", CANARY),
    Mutant("pgtop/core/canary.py", "self.outcome is Outcome.TERMINATED and ", "", CANARY),
    Mutant(
        "pgtop/core/diagnosis/over_recording.py",
        "if each.act is Act.TERMINATE:",
        "if True:",
        OVER_RECORDING,
    ),
    Mutant("pgtop/core/diagnosis/over_recording.py", "if at - since >= hold:", "if True:", OVER_RECORDING),
    Mutant(
        "pgtop/core/diagnosis/over_recording.py",
        "            self._left[each] = (now, self._present[each])",
        "            pass",
        OVER_RECORDING,
    ),
    Mutant(
        "pgtop/core/scrubbing.py",
        "query=_some(self.statement, backend.query)",
        "query=backend.query",
        SCRUBBING,
    ),
    Mutant("pgtop/core/scrubbing.py", 'stem = NUMBER.sub("…", name)', "stem = name", SCRUBBING),
    Mutant("pgtop/core/scrubbing.py", "operator=operator, ", "", SCRUBBING),
    Mutant("pgtop/core/scrubbing.py", "word.upper() in SQL_WORDS", "word.islower()", SCRUBBING),
    Mutant("pgtop/history/scrubbed_file.py", "= scrubber.seen(each)", "= each", SCRUBBING),
    Mutant("pgtop/history/scrubbed_file.py", "= scrubber.event(each)", "= each", SCRUBBING),
)
