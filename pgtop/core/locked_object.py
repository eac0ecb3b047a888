"""The object of a lock, in words."""

import msgspec


class LockedObject(msgspec.Struct, frozen=True):
    """The object of a lock, as pg_locks names it."""

    locktype: str
    relation: str | None = None
    """A relation's name, or its number where it is of another database."""
    database: str | None = None
    is_here: bool = True
    """False if it is of another database than pgtop's own, where names are not known."""
    page: int | None = None
    tuple: int | None = None
    virtualxid: str | None = None
    transactionid: str | None = None
    classid: str | None = None
    objid: str | None = None

    @property
    def words(self) -> str:
        """The object in words.

        >>> LockedObject("relation", relation="orders", database="shop").words
        'orders'
        >>> LockedObject("relation", relation="16384", database="shop", is_here=False).words
        'relation 16384 in db shop'
        >>> LockedObject("tuple", relation="orders", database="shop", page=0, tuple=7).words
        'orders, tuple (0,7)'
        >>> LockedObject("advisory", database="shop", classid="0", objid="42").words
        'advisory lock 0/42'
        """
        relation = self.relation
        if relation is not None and not self.is_here:
            relation = f"relation {relation} in db {self.database or '?'}"
        if relation is not None:
            place = "" if self.page is None else str(self.page)
            if self.tuple is not None:
                return f"{relation}, tuple ({place},{self.tuple})"
            if place:
                return f"{relation}, page {place}"
            return relation if self.locktype == "relation" else f"{relation}, {self.locktype}"
        if self.transactionid is not None:
            return f"transaction {self.transactionid}"
        if self.virtualxid is not None:
            return f"virtual transaction {self.virtualxid}"
        if self.objid is not None:
            kind = "advisory lock" if self.locktype == "advisory" else self.locktype
            return f"{kind} {self.classid}/{self.objid}"
        return f"{self.locktype} of db {self.database}" if self.database else self.locktype
