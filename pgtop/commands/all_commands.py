"""All commands by name.

This is the one place that knows them all. A command imports what it runs inside its own function, so that
`pgtop --version` is quick and `pgtop snapshot` does not import the screen.
"""

from typing import Final

from pgtop.commands.audit.command import AUDIT
from pgtop.commands.break_glass.command import BREAK_GLASS
from pgtop.commands.completion.command import COMPLETION
from pgtop.commands.config.command import CONFIG
from pgtop.commands.demo import DEMO
from pgtop.commands.diagnose.command import DIAGNOSE
from pgtop.commands.docs import DOCS
from pgtop.commands.doctor.command import DOCTOR
from pgtop.commands.reap.command import REAP
from pgtop.commands.snapshot.command import SNAPSHOT

COMMANDS: Final = {
    "snapshot": SNAPSHOT,
    "diagnose": DIAGNOSE,
    "doctor": DOCTOR,
    "reap": REAP,
    "break-glass": BREAK_GLASS,
    "audit": AUDIT,
    "config": CONFIG,
    "demo": DEMO,
    "docs": DOCS,
    "completion": COMPLETION,
}
