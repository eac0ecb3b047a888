"""The facts that `pgtop doctor` gathers, its findings, and the SQL that remedies them."""
