"""`pgtop history`: the episodes of a server, their causes, and every act on its sessions."""
