"""Text from a server that converts nothing, read as the server would have converted it."""

import json
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgtop.core.server_encodings import CODECS, as_text
from pgtop.demo.server import ThrowawayServer
from tests.servers import session

ENCODINGS = sorted(CODECS)
HIGH = [bytes([each]) for each in range(0x80, 0x100)]
EUC = [each for each in HIGH if b"\xa1" <= each <= b"\xfe"]
MULTIBYTE = ["EUC_CN", "EUC_JIS_2004", "EUC_JP", "EUC_KR", "UTF8"]
"""Of those that Python has a codec for."""

CONVERT = """
CREATE FUNCTION pg_temp.converted(raw bytea, encoding name) RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN convert_from(raw, encoding); EXCEPTION WHEN others THEN RETURN NULL; END $$
"""

CONVERTED = """
SELECT pg_temp.converted(raw, $2::text::name) FROM unnest($1::bytea[]) WITH ORDINALITY u(raw, i) ORDER BY i
"""


def ascii_of(text: str) -> str:
    """Without the tilde, of which EUC_JP has a second one."""
    return "".join(filter(str.isascii, text)).replace("~", "")


def assert_structure_survives(texts: list[bytes], encoding: str) -> None:
    """As many texts, with the same ASCII in each, as the JSON had that was sent."""
    read = json.loads(as_text(b'["' + b'","'.join(texts) + b'"]', encoding), strict=False)
    assert [ascii_of(each) for each in read] == [ascii_of(each.decode("latin-1")) for each in texts]


TEXTS = st.lists(st.sampled_from([*HIGH, b"a", b"[", b":", b","])).map(b"".join)


@settings(max_examples=500)
@given(st.sampled_from([*ENCODINGS, "SQL_ASCII", "NO_SUCH"]), st.lists(TEXTS, min_size=1))
def test_no_byte_of_a_text_takes_the_structure_with_it(encoding: str, texts: list[bytes]) -> None:
    assert_structure_survives(texts, encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_beginning_of_a_character_does_either(encoding: str) -> None:
    """Each that there is, of up to three bytes where that can be one, within and at the end."""
    pairs = [b"".join(pair) for pair in product(HIGH, HIGH)]
    longer = [lead + pair for lead in (b"\x8e", b"\x8f") for pair in pairs] if encoding in MULTIBYTE else []
    assert_structure_survives([*HIGH, *pairs, *longer], encoding)
    for beginning in (*HIGH, *(pairs if encoding in MULTIBYTE else ())):
        assert as_text(beginning + b'"', encoding).endswith('"')


async def test_a_character_is_what_the_server_converts_it_to_or_none(server: ThrowawayServer) -> None:
    """Never another one: a name that somebody protects has to be found, or be known to be unreadable."""
    async with session(server) as connection:
        await connection.execute(CONVERT)
        for encoding in ENCODINGS:
            raw = list(HIGH)
            if encoding.startswith("EUC"):
                raw += [b"".join(pair) for pair in product(EUC, EUC)]
            if encoding in ("EUC_JP", "EUC_JIS_2004"):
                raw += [b"\x8e" + each for each in EUC] + [
                    b"\x8f" + one + two for one, two in product(EUC, EUC)
                ]
            rows = await connection.fetch(CONVERTED, raw, encoding)
            converted = [(each, text) for each, (text,) in zip(raw, rows, strict=True) if text is not None]
            read = [as_text(each, encoding) for each, _ in converted]
            other = [
                (each, text, ours)
                for (each, text), ours in zip(converted, read, strict=True)
                if ours != text and "\ufffd" not in ours
            ]
            assert other == [], encoding
            if encoding not in ("EUC_TW", "MULE_INTERNAL"):  # for which Python has no codec
                assert sum("\ufffd" in each for each in read) <= 0.02 * len(read), encoding
