"""The little shop that the demo's sessions work on: its roles, its tables and its queries."""

DATABASE = "shop"
"""The database of the shop."""

OPERATOR = "pgtop"
"""The role that pgtop itself uses: it sees and terminates sessions, and is not a superuser."""

PEOPLE = ("ann", "bob", "carla", "dilip")
"""The roles of people, who use the database through tools."""

ROLES = ("web", "api", "reporting", "batch", "worker", "billing", "backup", *PEOPLE)
"""The roles of the workload's sessions."""

BILLING_LIMIT = 12
"""The CONNECTION LIMIT of the role billing."""


def role_statements(password: str, version: int) -> list[str]:
    """Return the statements that create the roles on a server of a major version.

    All roles get the same password, which has only URL-safe characters.
    """
    groups = ["pg_monitor", "pg_signal_backend"]
    if version >= 16:
        groups.append("pg_use_reserved_connections")
    return [
        "SET password_encryption = 'scram-sha-256'",
        *(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'" for role in (*ROLES, OPERATOR)),
        f"ALTER ROLE billing CONNECTION LIMIT {BILLING_LIMIT}",
        f"GRANT {', '.join(groups)} TO {OPERATOR}",
    ]


TABLES = """
CREATE TABLE customers (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, name text NOT NULL, country text NOT NULL);
CREATE TABLE products (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, title text NOT NULL, price_cents int NOT NULL,
    in_stock int NOT NULL);
CREATE TABLE orders (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, customer_id int NOT NULL REFERENCES customers,
    state text NOT NULL DEFAULT 'new', total_cents int NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE jobs (
    id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY, kind text NOT NULL, state text NOT NULL DEFAULT 'queued',
    attempts int NOT NULL DEFAULT 0, run_at timestamptz NOT NULL DEFAULT now());

INSERT INTO customers (name, country)
SELECT 'customer ' || n, (ARRAY['DE', 'FR', 'NL', 'PL', 'SE'])[1 + n % 5] FROM generate_series(1, 200) n;
INSERT INTO products (title, price_cents, in_stock)
SELECT 'product ' || n, 100 + 37 * n, n % 40 FROM generate_series(1, 100) n;
INSERT INTO orders (customer_id, total_cents, created_at)
SELECT 1 + n % 200, 500 + 13 * (n % 700), now() - n * interval '11 min' FROM generate_series(1, 2000) n;
INSERT INTO jobs (kind)
SELECT (ARRAY['send_mail', 'resize_image', 'export'])[1 + n % 3] FROM generate_series(1, 300) n;

CREATE INDEX ON orders (customer_id);
CREATE INDEX ON jobs (state, run_at);
ALTER TABLE orders OWNER TO batch;
GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO PUBLIC;
ANALYZE;
"""
"""The statements that create and fill the tables."""

WEB = (
    "SELECT id, title, price_cents FROM products WHERE in_stock > 0 ORDER BY title LIMIT 20",
    "SELECT id, state, total_cents FROM orders WHERE customer_id = 42 ORDER BY created_at DESC LIMIT 10",
    "SELECT count(*) FROM orders WHERE customer_id = 17 AND state = 'new'",
    "SELECT title, price_cents, in_stock FROM products WHERE id = 73",
    "UPDATE products SET in_stock = in_stock + 1 WHERE id = (SELECT 1 + floor(random() * 99)::int)",
)
"""The statements of a page view."""

API = (
    "SELECT o.id, o.state, c.name FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.id = 1204",
    "SELECT id, price_cents FROM products WHERE id = ANY ('{3,14,15,92,65}')",
    "INSERT INTO jobs (kind, state) VALUES ('send_mail', 'done')",
)
"""The statements of a call of the API."""

REPORT = (
    "SELECT c.country, count(*), sum(o.total_cents) FROM orders o JOIN customers c ON c.id = o.customer_id, "
    "pg_sleep({seconds}) GROUP BY c.country ORDER BY 3 DESC"
)
"""A long report; it sleeps where a real one would burn the processor."""

BATCH_LOCK = "UPDATE jobs SET state = 'running' WHERE id = 1"
"""The statement that holds a row until its transaction ends."""

BATCH_WAIT = "UPDATE jobs SET attempts = attempts + 1 WHERE id = 1"
"""The statement that waits for that row."""

ORDERS = WEB[1:3]
"""The statements of a page view that read orders."""

DUMP = "SELECT o.*, pg_sleep(2) FROM orders o"
"""The long read of a dump; it sleeps where a real one would write a large table to a file."""

MIGRATION = "ALTER TABLE orders ADD COLUMN IF NOT EXISTS note text"
"""A schema change that is quick once it has its lock."""

PAYMENT = "SELECT id, total_cents FROM orders WHERE customer_id = 42 AND state = 'new' FOR KEY SHARE"
"""The statement after which a call asks another service."""

SEARCH = "SELECT o.id, o.state FROM orders o, pg_sleep({seconds}) WHERE o.total_cents = {total}"
"""A search without an index; it sleeps where a real one would read a large table."""

LOOK = "SELECT * FROM orders ORDER BY id DESC LIMIT 200"
"""The statement of somebody who looks at a table."""
