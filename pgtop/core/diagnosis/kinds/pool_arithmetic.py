"""Pool arithmetic: pools of the same size on many hosts, each in order, that are too large together."""

from collections import Counter
from math import ceil

from pgtop.core.activity import IDLE, Backend
from pgtop.core.diagnosis.findings import Advice, Finding, Grade, Kind, Remedy
from pgtop.core.diagnosis.kinds import leak
from pgtop.core.diagnosis.scene import Application, Scene, addresses_of
from pgtop.core.plan import Act
from pgtop.core.session_labels import address
from pgtop.core.text import percent, plural, span


def find(scene: Scene) -> list[Finding]:
    """Return the pools of the largest application if they do not fit, and nothing else explains the use."""
    limits, snapshot = scene.thresholds, scene.snapshot
    explained = scene.judged - len(scene.left)
    if snapshot.usage < limits.arithmetic_usage or explained >= limits.arithmetic_explained * scene.judged:
        return []
    application, members = max(scene.by_application.items(), key=lambda item: len(item[1]))
    sizes = Counter(address(each) for each in members if address(each) is not None)
    if len(members) < max(scene.floor, limits.arithmetic_share * snapshot.slots) or len(sizes) < 2:
        return []
    if leak.is_suspected(scene, application, members):
        return []
    largest = max(sizes.values())
    alike = sum(number >= limits.arithmetic_alike * largest for number in sizes.values())
    if alike < limits.arithmetic_addresses * len(sizes) or largest < 2:
        return []
    # Pools that are in use would not do with less: that is load, and the residual describes it.
    needed = max(sum(each.state != IDLE for each in members), _most_in_use(scene, application)[0])
    size = max(1, _fits(scene, members, len(sizes))[1])
    if size >= largest or limits.arithmetic_headroom * needed > size * len(sizes):
        return []
    return [_of(scene, application, members, largest, len(sizes))]


def _fits(scene: Scene, members: tuple[Backend, ...], hosts: int) -> tuple[int, int]:
    """Return the size of a pool that fits, and that which fits while a deploy runs old and new."""
    limits, slots = scene.thresholds, scene.snapshot.slots
    room = limits.arithmetic_line * slots - (scene.snapshot.taken - len(members))
    return max(0, int(room / hosts)), max(0, int(room / hosts / limits.deploy_share))


def _of(
    scene: Scene, application: Application, members: tuple[Backend, ...], largest: int, hosts: int
) -> Finding:
    slots = scene.snapshot.slots
    idle = sum(each.state == IDLE for each in members)
    fits, in_deploy = _fits(scene, members, hosts)
    most, minutes = _most_in_use(scene, application)
    at_once = f"; at most {most} were in use at once in {span(minutes * 60)}" if minutes else ""
    product = hosts * largest
    over = f" = {product} > {slots} slots" if product > slots else f", {product} in all"
    size = f"{fits} each fits" if fits < largest else _deploy(scene, hosts, largest, in_deploy)
    if not in_deploy:
        size = "1 each fits, without a deploy" if fits else "not even 1 each fits"
    sentence = (
        f"pools of {application.name} too large together: {hosts} addresses × {largest}{over}; {size} "
        f"(it has {len(members)}, {idle} idle{at_once})"
    )
    return Finding(
        kind=Kind.POOL_ARITHMETIC,
        grade=Grade.LOOKS_LIKE,
        slots=idle,
        sentence=sentence,
        backends=tuple(each.id for each in members),
        application_name=application.application_name,
        usename=application.usename,
        datname=application.datname,
        addresses=addresses_of(members),
        evidence=(
            ("pools, one an address", str(hosts)),
            ("sessions of the largest pool", str(largest)),
            ("sessions of the application", str(len(members))),
            ("of them idle", str(idle)),
            ("each may have at most", _at_most(fits)),
            (
                "while a deploy runs, at most",
                f"{_at_most(in_deploy)}; it runs a quarter more pools for a while",
            ),
            *([("most in use at once", f"{most} in {span(minutes * 60)}")] if minutes else []),
        ),
        remedy=Remedy(
            Act.TERMINATE, tuple(each.id for each in members if each.state == IDLE), _refill(hosts)
        ),
        advice=(
            Advice(
                f"Set the pools to {in_deploy} each: a rolling deploy runs a quarter more of them"
                if in_deploy
                else f"Put one pooler in front of them: {plural(hosts, 'pool')} of any size are too many"
            ),
            Advice(_refill(hosts)),
        ),
    )


def _at_most(size: int) -> str:
    """Return the largest size of a pool that fits, in words."""
    return plural(size, "session") if size else "not even 1"


def _deploy(scene: Scene, hosts: int, largest: int, fitting: int) -> str:
    """Return how full the server gets while a deploy runs new pools beside the old ones."""
    snapshot, share = scene.snapshot, scene.thresholds.deploy_share
    taken = snapshot.taken + ceil(hosts * (share - 1)) * largest
    if taken > snapshot.slots:
        return f"a deploy does not fit: {fitting} each would"
    return f"a deploy takes it to {percent(taken / snapshot.slots)}: {fitting} each leave room"


def _refill(hosts: int) -> str:
    return f"Terminating sessions won't hold: {plural(hosts, 'pool')} refill at once"


def _most_in_use(scene: Scene, application: Application) -> tuple[int, int]:
    """Return the most sessions in use at once, and the minutes watched: 0 if too few to tell."""
    traffic = scene.before.traffic.get(application)
    minutes = int(scene.before.watched_seconds * scene.thresholds.compression / 60)
    return (traffic.most_in_use, minutes) if traffic is not None and minutes else (0, 0)
