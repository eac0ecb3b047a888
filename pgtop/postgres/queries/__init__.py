"""Every SQL text that pgtop sends, with what it returns and on which versions (all run on 14 to 18).

May import nothing but one another.

Times cross as integers of microseconds since the Unix epoch, so that a guard gets back exactly what a poll
showed. JSON crosses as `textsend(...)`, bytes: a statement of another database may hold bytes that are not
valid text in this one, and must not make the whole poll fail. Where it fails in the server already, which
converts and counts characters, there is a second text that takes them as they are.

Every function, operator, type, relation and collation is qualified with pg_catalog. Through a pooler, or in
the database of a hostile owner, another schema may come first in `search_path`, or hold an overload that fits
the arguments better: it would then run with the rights of whoever looks. For the same reason there is no
LIKE, IN, BETWEEN, NULLIF, USING, IS DISTINCT FROM or CASE with an operand: PostgreSQL looks their operators
up by name. No parameter or column is an array of integers: for that type the driver sends statements of its
own, which are not qualified; pids cross as text, `{1,2}`.
Source: PostgreSQL documentation, CREATE FUNCTION, "Writing SECURITY DEFINER Functions Safely", and Type
Conversion, Functions; src/backend/parser/parse_expr.c (make_distinct_op, transformAExprNullIf).
"""
