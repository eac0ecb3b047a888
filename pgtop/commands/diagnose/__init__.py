"""`pgtop diagnose`: what fills a server, in one sentence, with the evidence and what to do."""
