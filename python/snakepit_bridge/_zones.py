"""Time zones of times that arrive. Imported with the first one, for it needs ``datetime``.

Thread: any; no state.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo


class NamedZone(tzinfo):
    """A zone of which only the name and the offset of one moment are known here."""

    def __init__(self, key: str, seconds: int) -> None:
        self.key = key
        self._seconds = seconds

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(seconds=self._seconds)

    def dst(self, when: datetime | None) -> None:
        return None

    def tzname(self, when: datetime | None) -> str:
        return self.key

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return NamedZone, (self.key, self._seconds)

    def __repr__(self) -> str:
        return f"NamedZone({self.key!r}, {self._seconds})"


def fixed(offset: int) -> tzinfo:
    """The zone of which nothing but its offset is known."""
    return timezone(timedelta(seconds=offset)) if offset else timezone.utc


def placed(wall: datetime, offset: int, name: str) -> datetime:
    """The wall-clock time in the zone of that name, if it is known here and has that offset then, else in one that has."""
    if not name:
        return wall.replace(tzinfo=fixed(offset))
    try:
        from zoneinfo import ZoneInfo

        zone = ZoneInfo(name)
        for fold in (0, 1):
            there = wall.replace(tzinfo=zone, fold=fold)
            if there.utcoffset() == timedelta(seconds=offset):
                return there
    except Exception:
        pass
    return wall.replace(tzinfo=NamedZone(name, offset))
