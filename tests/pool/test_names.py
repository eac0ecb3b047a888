"""Names that others read: a DSN that tells no secret, whatever was typed."""

import pytest

from pgtop.pool.names import LONGEST_NAME, shown_dsn, tag_statement
from pgtop.pool.places import Call, Place, calling_place


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:s3cret@db1/shop",
        "postgres://app:s3cret@db1,db2:5433/shop?password=s3cret&sslpassword=s3cret",
        "postgresql://app:s3cret/x@db1/shop",
        "postgresql://app:x?s3cret@db1/shop",
        "postgresql://app:x#s3cret@db1/shop",
        "postgresql://app:x@s3cret@db1/shop",
        "postgresql://app:[s3cret@db1/shop",
        "postgresql://app:s3cret/shop",
        "host=db1 password=s3cret",
        "s3cret",
    ],
)
def test_a_shown_dsn_has_no_password(dsn: str) -> None:
    assert "s3cret" not in shown_dsn(dsn)
    assert shown_dsn(dsn).startswith("postgres")


def placed() -> Call:
    """Find the place that calls this, as `acquire` does."""
    return calling_place()


def test_a_tag_fits_and_keeps_its_place() -> None:
    """The application's name gives way."""
    call = placed()
    statement = tag_statement("a" * 100, call)
    name = statement.partition("E'")[2].removesuffix("'")
    assert len(name) == LONGEST_NAME
    assert name.endswith(f"a@test_names.py:{Place(*call).line}")


def test_a_place_has_the_line_of_the_call() -> None:
    """The line is that of the call, not of the function's beginning."""
    first = test_a_place_has_the_line_of_the_call.__code__.co_firstlineno
    calls = [
        placed(),
        placed(),
    ]
    assert [Place(*call).line - first for call in calls] == [4, 5]
