"""Findings are ranked by the statement, and silenced with a reason; what cannot be read is skipped."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pgtop.core.diagnosis.statements import shown_statement
from pgtop.errors import UsageError
from pgtop.leaks.findings import Rule
from pgtop.leaks.silencing import NO_REASON, Settings, settings_near
from pgtop.leaks.statements import Match
from pgtop.leaks.survey import survey

Tree = Callable[..., Path]

DATABASE = """
    import psycopg2

    def get_connection():
        return psycopg2.connect("dbname=shop")
    """
JOBS = """
    from app.db import get_connection

    LISTED = "SELECT id, name FROM jobs WHERE done = %s AND kind IN ('a', 'b')"

    def jobs():
        connection = get_connection()
        cursor = connection.cursor()
        cursor.execute(LISTED, [False])
        return cursor.fetchall()

    def users(connection=None):
        connection = connection or get_connection()
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {TABLE} WHERE id = {id}")
        return cursor.fetchall()
    """


@pytest.mark.parametrize(
    ("statement", "function", "match"),
    [
        ("select id, name from jobs where done = true and kind in ('x')", "jobs", Match.RUNS),
        ("SELECT id, name FROM jobs WHERE done = $1 AND…", "jobs", Match.RUNS),
        ("SELECT * FROM users WHERE id = 7", "users", Match.RUNS),
        ("SELECT id, name FROM jobs", "jobs", Match.NO),
        ("SELECT 1", "jobs", Match.NO),
    ],
)
def test_a_finding_says_whether_its_code_runs_the_statement(
    tree: Tree, statement: str, function: str, match: Match
) -> None:
    root = tree(app__db=DATABASE, app__jobs=JOBS)
    found = survey([root], Settings(), statement=statement).findings
    assert {each.finding.function: each.match for each in found}[function] is match
    assert [each.match for each in found] == sorted((each.match for each in found), reverse=True)


def test_the_statement_fits_as_the_diagnosis_shows_it(tree: Tree) -> None:
    """It is without literals there, and cut to a line."""
    sent = "SELECT id, name FROM jobs WHERE done = false AND kind IN ('a', 'b') ORDER BY created_at LIMIT 10"
    root = tree(
        jobs=f'''
        import psycopg2

        def jobs():
            connection = psycopg2.connect("")
            connection.cursor().execute("{sent}")
        '''
    )
    shown = shown_statement(sent)
    assert shown.endswith("…")
    assert [each.match for each in survey([root], Settings(), statement=shown).findings] == [Match.RUNS]


def test_a_caller_of_what_runs_it_ranks_before_its_file(tree: Tree) -> None:
    root = tree(
        app__db=DATABASE,
        app__a="""
        from app.db import get_connection

        def read(connection):
            connection.cursor().execute("SELECT * FROM jobs")

        def job():
            connection = get_connection()
            read(connection)

        def other():
            connection = get_connection()
            connection.cursor().execute("SELECT 2")
        """,
    )
    found = survey([root], Settings(), statement="SELECT * FROM jobs").findings
    assert [(each.finding.function, each.match) for each in found] == [
        ("job", Match.CALLS),
        ("other", Match.SAME_FILE),
    ]


def test_a_model_of_the_statement_s_table_is_told(tree: Tree) -> None:
    root = tree(
        app="""
        from sqlalchemy.orm import DeclarativeBase, sessionmaker

        SessionLocal = sessionmaker()

        class Job(Base):
            __tablename__ = "jobs"

        def jobs():
            session = SessionLocal()
            return session.query(Job).all()
        """
    )
    (found,) = survey([root], Settings(), statement="SELECT jobs.id FROM jobs").findings
    assert found.match is Match.SAME_TABLE


def test_places_that_give_back_are_listed_for_the_statement(tree: Tree) -> None:
    root = tree(
        app="""
        import asyncpg

        async def jobs(pool: asyncpg.Pool):
            async with pool.acquire() as connection:
                return await connection.fetch("SELECT * FROM jobs")
        """
    )
    result = survey([root], Settings(), statement="SELECT * FROM jobs")
    assert not result.findings
    assert [(each.function, each.match) for each in result.takings] == [("jobs", Match.RUNS)]
    assert survey([root], Settings()).takings == ()


LEAK = """
    import psycopg2

    def jobs():
        connection = psycopg2.connect(
            "dbname=shop",
        ){after}
        connection.cursor()
    """


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ("  # pgtop: kept the leader's lock", "the leader's lock"),
        ("  # pgtop: kept[never-closed]: the leader's lock", "the leader's lock"),
        ("  # pgtop: kept", NO_REASON),
    ],
)
def test_a_comment_silences_its_line(tree: Tree, comment: str, reason: str) -> None:
    result = survey([tree(app=LEAK.replace("{after}", comment))], Settings())
    assert not result.findings
    assert [each.silenced for each in result.silenced] == [reason]


@pytest.mark.parametrize("comment", ["  # pgtop: kept[pool-race] x", "  # kept", "", "; a = '# pgtop: kept'"])
def test_any_other_comment_silences_nothing(tree: Tree, comment: str) -> None:
    assert survey([tree(app=LEAK.replace("{after}", comment))], Settings()).findings


def test_a_comment_on_the_line_above_silences(tree: Tree) -> None:
    text = LEAK.replace("{after}", "").replace(
        "        connection =", "        # pgtop: kept above\n        connection ="
    )
    assert [each.silenced for each in survey([tree(app=text)], Settings()).silenced] == ["above"]


def test_the_table_silences_by_path_rule_and_function(tree: Tree) -> None:
    root = tree(app__old=LEAK.replace("{after}", ""), app__new=LEAK.replace("{after}", ""))
    (root / "pyproject.toml").write_text(
        """
        [tool.pgtop.leaks]
        exclude = ["*/migrations/*"]

        [[tool.pgtop.leaks.kept]]
        path = "app/old.py"
        rule = "never-closed"
        function = "j*"
        reason = "it is replaced next month"

        [[tool.pgtop.leaks.kept]]
        path = "app/gone.py"
        reason = "there is no such file"
        """,
        encoding="utf-8",
    )
    result = survey([root], settings_near(root / "app"))
    assert [Path(each.finding.place.path).name for each in result.findings] == ["new.py"]
    assert [each.silenced for each in result.silenced] == ["it is replaced next month"]
    assert [each.path for each in result.unused] == ["app/gone.py"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[tool.pgtop.leaks]\nexclud = []", "exclud"),
        ('[[tool.pgtop.leaks.kept]]\npath = "a.py"', "reason"),
        ('[[tool.pgtop.leaks.kept]]\npath = "a.py"\nreason = ""', "reason"),
        ('[[tool.pgtop.leaks.kept]]\npath = "a.py"\nreason = "b"\nrule = "leak"', "leak"),
        ("[tool", "pyproject.toml"),
    ],
)
def test_a_wrong_table_is_an_error_that_names_it(tmp_path: Path, text: str, named: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=named):
        settings_near(tmp_path)


def test_a_file_that_does_not_parse_is_skipped(tree: Tree) -> None:
    root = tree(
        good=LEAK.replace("{after}", ""), bad="import psycopg2\ndef (", deep=f"import asyncpg\n{'(' * 500}"
    )
    (root / "latin.py").write_bytes(b"# -*- coding: latin-1 -*-\nimport psycopg2\n# \xe9\n")
    (root / "broken.py").write_bytes(b"import psycopg2\n# \xe9\n")
    (root / "zero.py").write_bytes(b"import psycopg2\n\0")
    result = survey([root], Settings())
    assert sorted(Path(each.path).name for each in result.unreadable) == [
        "bad.py",
        "broken.py",
        "deep.py",
        "zero.py",
    ]
    assert len(result.findings) == 1
    assert result.files == 6


def test_tests_and_installed_code_are_left_out(tree: Tree) -> None:
    leak = LEAK.replace("{after}", "")
    names = ("tests__test_a", "conftest", "venv__lib__a", "a__node_modules__b", "src__a_test")
    root = tree(**dict.fromkeys(names, leak), src__a=leak)
    assert [Path(each.finding.place.path).name for each in survey([root], Settings()).findings] == ["a.py"]
    assert len(survey([root], Settings(), tests=True).findings) == 4
    named = survey([root / "tests" / "test_a.py"], Settings())
    assert len(named.findings) == 1


def test_rules_about_limits_are_opt_in(tree: Tree) -> None:
    root = tree(
        app="""
        import asyncpg

        async def serve(dsn, options):
            pool = await asyncpg.create_pool(dsn)
            async with pool.acquire() as connection:
                await connection.fetch("SELECT 1")
            await pool.close()

        async def bounded(dsn, options):
            pool = await asyncpg.create_pool(
                dsn, max_size=10, command_timeout=60, server_settings={"application_name": "shop"}
            )
            async with pool.acquire(timeout=10) as connection:
                await connection.fetch("SELECT 1")
            await pool.close()
            await asyncpg.create_pool(dsn, **options)
        """
    )
    opt_in = [Rule.NO_ACQUIRE_TIMEOUT, Rule.NO_APPLICATION_NAME, Rule.NO_COMMAND_TIMEOUT, Rule.NO_MAX_SIZE]
    found = survey([root], Settings(), rules=opt_in).findings
    assert sorted(each.finding.rule for each in found) == opt_in
    assert {each.finding.function for each in found} == {"serve"}
    assert not {each.finding.rule for each in survey([root], Settings()).findings} & set(opt_in)


def test_a_directory_within_a_package_knows_the_package_s_name(tree: Tree) -> None:
    root = tree(
        shop__app__db=DATABASE,
        shop__app__jobs="""
        from shop.app.db import get_connection

        def jobs():
            connection = get_connection()
            connection.cursor()
        """,
    )
    for package in (root / "shop", root / "shop" / "app"):
        (package / "__init__.py").write_text("", encoding="utf-8")
    assert [each.finding.function for each in survey([root / "shop" / "app"], Settings()).findings] == [
        "jobs"
    ]


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (
            '"SELECT id, name FROM jobs WHERE done = :done AND kind = :kind ORDER BY at DESC"',
            "SELECT id, name FROM jobs WHERE done = $1::BOOLEAN AND kind = $2::VARCHAR ORDER BY at DESC",
        ),
        (
            'f"SELECT {COLUMNS} FROM jobs WHERE done = %s ORDER BY created_at DESC LIMIT {limit}"',
            "SELECT id, name FROM jobs WHERE done = true ORDER BY created_at DESC LIMIT 10",
        ),
        (
            '"SELECT id, name, kind, created_at FROM {} WHERE id = %s".format(TABLE)',
            "SELECT id, name, kind, created_at FROM jobs WHERE id = 7",
        ),
        ('"SELECT id FROM %s WHERE id = %%s" % TABLE', "SELECT id FROM jobs WHERE id = 7"),
        (
            '"SELECT id FROM jobs WHERE at < :at"',
            "SELECT id FROM jobs WHERE at < $1::TIMESTAMP WITHOUT TIME ZONE",
        ),
        ('"SELECT id FROM jobs WHERE id = %s::int"', "SELECT id FROM jobs WHERE id = 7::int"),
        ("NAMED", "SELECT id FROM named"),
    ],
    ids=["casts", "f-string", "format", "percent", "a cast of words", "a cast of its own", "annotated"],
)
def test_a_statement_of_parts_fits_whole_and_cut(tree: Tree, written: str, sent: str) -> None:
    root = tree(
        jobs=f"""
        import psycopg2

        NAMED: str = "SELECT id FROM named"

        def jobs():
            connection = psycopg2.connect("")
            connection.cursor().execute({written})
        """
    )
    for statement in (sent, shown_statement(sent)):
        found = survey([root], Settings(), statement=statement).findings
        assert [each.match for each in found] == [Match.RUNS], statement


def test_a_statement_with_many_holes_is_compared_soon(tree: Tree) -> None:
    holes = ", ".join(f"{{c{i}}}" for i in range(30))
    root = tree(
        jobs=f"""
        import psycopg2

        def jobs():
            psycopg2.connect("").cursor().execute(f"SELECT {{first}}, {holes} FROM jobs")
        """
    )
    other = f"SELECT {', '.join(f'column_{i}' for i in range(90))} FROM users"
    found = survey([root], Settings(), statement=other).findings
    assert [each.match for each in found] == [Match.NO]


@pytest.mark.parametrize(
    "comment", ["  # noqa: S105  # pgtop: kept it is", "  # pgtop: kept[x, never-closed] it is"]
)
def test_a_comment_may_follow_another_and_name_more_rules(tree: Tree, comment: str) -> None:
    result = survey([tree(app=LEAK.replace("{after}", comment))], Settings())
    assert [each.silenced for each in result.silenced] == ["it is"]


def test_a_comment_behind_code_speaks_for_its_line_alone(tree: Tree) -> None:
    text = """
        import psycopg2

        def jobs():
            one = psycopg2.connect("")  # pgtop: kept[never-closed] the leader's lock
            two = psycopg2.connect("")
            one.cursor(), two.cursor()
        """
    result = survey([tree(app=text)], Settings())
    assert [each.finding.place.line for each in result.findings] == [6]


def test_columns_count_characters_and_lines_are_the_parser_s(tree: Tree) -> None:
    text = "import psycopg2\ndef jobs():\n\x0c    x = 'é\u2028é'; é = psycopg2.connect('')\n    é.cursor()\n"
    (found,) = survey([tree(app=text)], Settings()).findings
    place = found.finding.place
    assert text.split("\n")[place.line - 1][place.column - 1 :].startswith("psycopg2.connect")


def test_an_entry_is_unused_only_if_its_files_and_rule_are_checked(tree: Tree) -> None:
    root = tree(app__jobs=LEAK.replace("{after}", ""), app__other="import psycopg2\n")
    (root / "pyproject.toml").write_text(
        """
        [[tool.pgtop.leaks.kept]]
        path = "app/jobs.py"
        rule = "pool-race"
        reason = "there is none"
        """,
        encoding="utf-8",
    )
    settings = settings_near(root)
    assert not survey([root / "app" / "other.py"], settings).unused
    assert not survey([root], settings, rules=[Rule.NEVER_CLOSED]).unused
    assert len(survey([root / "app" / "jobs.py"], settings).unused) == 1
    assert len(survey([root], settings).unused) == 1


def test_a_bounded_wait_takes_what_it_waits_for(tree: Tree) -> None:
    text = """
        import asyncio
        import asyncpg

        async def leaks(dsn):
            connection = await asyncio.wait_for(asyncpg.connect(dsn), 5)
            return await connection.fetch("SELECT 1")

        async def closes(pool: asyncpg.Pool):
            connection = await asyncio.wait_for(pool.acquire(), 5)
            try:
                return await connection.fetch("SELECT 1")
            finally:
                await pool.release(connection)

        async def enters(pool: asyncpg.Pool):
            async with asyncio.timeout(5):
                connection = await pool.acquire()
            async with connection:
                return await connection.fetch("SELECT 1")
        """
    rules = [Rule.NEVER_CLOSED, Rule.NOT_IN_FINALLY, Rule.NO_ACQUIRE_TIMEOUT]
    result = survey([tree(app=text)], Settings(), rules=rules)
    assert [(each.finding.rule, each.finding.function) for each in result.findings] == [
        (Rule.NEVER_CLOSED, "leaks")
    ]


def test_one_engine_for_each_server_and_a_lock_taken_by_hand_are_fine(tree: Tree) -> None:
    text = """
        import asyncio
        import asyncpg
        from sqlalchemy import create_engine

        def engines(urls):
            return {name: made for name, made in pairs(urls)}

        def pairs(urls):
            for url in urls:
                made = create_engine(url)
                yield url, made

        def again(urls):
            for url in urls:
                create_engine("postgresql:///shop").dispose()

        class Jobs:
            def __init__(self):
                self._pool, self._lock = None, asyncio.Lock()

            async def pool(self):
                await self._lock.acquire()
                try:
                    if self._pool is None:
                        self._pool = await asyncpg.create_pool("")
                finally:
                    self._lock.release()
        """
    rules = [Rule.POOL_PER_CALL, Rule.POOL_RACE]
    result = survey([tree(app=text)], Settings(), rules=rules)
    assert [(each.finding.rule, each.finding.function) for each in result.findings] == [
        (Rule.POOL_PER_CALL, "again")
    ]
