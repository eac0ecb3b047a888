"""`pgtop history`: the episodes of a server, what filled it, and every act, from its recording and the audit log."""
