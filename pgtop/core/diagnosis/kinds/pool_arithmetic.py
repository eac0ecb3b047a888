"""Pool arithmetic: pools of the same size on many hosts, each in order, that are too large together."""

from collections import Counter
from math import ceil
from typing import NamedTuple

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


class _Pools(NamedTuple):
    """The pools of an application, and the sizes that would fit."""

    hosts: int
    largest: int
    """The sessions of the largest of them."""
    members: int
    """The sessions of all of them."""
    idle: int
    fits: int
    """The size of each that fits; 0 if none does."""
    fits_in_deploy: int
    """The size that fits while a deploy runs old and new ones; 0 if none does."""
    most_in_use: int
    watched_minutes: int
    """The minutes over which the most in use was seen; 0 if they are too few to tell."""


def _of(
    scene: Scene, application: Application, members: tuple[Backend, ...], largest: int, hosts: int
) -> Finding:
    idle = tuple(each.id for each in members if each.state == IDLE)
    pools = _Pools(
        hosts,
        largest,
        len(members),
        len(idle),
        *_fits(scene, members, hosts),
        *_most_in_use(scene, application),
    )
    return Finding(
        kind=Kind.POOL_ARITHMETIC,
        grade=Grade.LOOKS_LIKE,
        slots=pools.idle,
        sentence=_sentence(scene, application, pools),
        shorter=_shorter(application, pools),
        backends=tuple(each.id for each in members),
        application_name=application.application_name,
        usename=application.usename,
        datname=application.datname,
        addresses=addresses_of(members),
        evidence=_evidence(pools),
        remedy=Remedy(Act.TERMINATE, idle, _refill(hosts)),
        advice=(_advice(pools), Advice(_refill(hosts))),
    )


def _sentence(scene: Scene, application: Application, pools: _Pools) -> str:
    slots, product = scene.snapshot.slots, pools.hosts * pools.largest
    over = f" = {product} > {slots} slots" if product > slots else f", {product} in all"
    minutes = pools.watched_minutes
    at_once = f"; at most {pools.most_in_use} were used at once in {span(minutes * 60)}" if minutes else ""
    return (
        f"pools of {application.name} too large together: {pools.hosts} addresses × {pools.largest}{over}; "
        f"{_fitting(scene, pools)} (it has {pools.members}, {pools.idle} idle{at_once})"
    )


def _shorter(application: Application, pools: _Pools) -> tuple[str, ...]:
    large = f"pools of {application.name} too large together: {pools.hosts} "
    size = pools.fits_in_deploy
    mend = f"set {size} each" if size else "put one pooler in front"
    return (
        f"{large}addresses × {pools.largest}; {mend}",
        f"{large}× {pools.largest}; {mend}",
        f"{large}× {pools.largest}",
        f"pools of {application.name} too large together",
    )


def _fitting(scene: Scene, pools: _Pools) -> str:
    """Return the size that fits, or what a deploy does to pools that fit without one."""
    if not pools.fits_in_deploy:
        return "1 each fits, without a deploy" if pools.fits else "not even 1 each fits"
    if pools.fits < pools.largest:
        return f"{pools.fits} each fits"
    return _deploy(scene, pools.hosts, pools.largest, pools.fits_in_deploy)


def _evidence(pools: _Pools) -> tuple[tuple[str, str], ...]:
    in_deploy = f"{_at_most(pools.fits_in_deploy)}; it runs a quarter more pools for a while"
    most = f"{pools.most_in_use} in {span(pools.watched_minutes * 60)}"
    return (
        ("pools, one an address", str(pools.hosts)),
        ("sessions of the largest pool", str(pools.largest)),
        ("sessions of the application", str(pools.members)),
        ("of them idle", str(pools.idle)),
        ("each may have at most", _at_most(pools.fits)),
        ("while a deploy runs, at most", in_deploy),
        *([("most used at once", most)] if pools.watched_minutes else []),
    )


def _advice(pools: _Pools) -> Advice:
    if pools.fits_in_deploy:
        return Advice(
            f"Set the pools to {pools.fits_in_deploy} each: a rolling deploy runs a quarter more of them"
        )
    many = plural(pools.hosts, "pool")
    return Advice(f"Put one pooler in front of them: {many} of any size are too many")


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
