"""The rules of an acl_file, as Mosquitto 2.0 applies them: who may write a topic, and who may read it.

A user's own rules come first, those that deny before those that allow; then the patterns, which hold for everyone.
Patterns with `%u` are asked the other way round: for a topic there is a set of users whom they allow, so that one look
at each topic answers for a whole fleet. `%c` and patterns that deny are not modelled, nor that Mosquitto allows nothing
by pattern to a client whose id contains a wildcard or a slash.
"""

from __future__ import annotations

from typing import NamedTuple

_READ, _WRITE = 1, 2
_ACCESS = {"read": _READ, "write": _WRITE, "readwrite": _READ | _WRITE, "deny": 0}
#: Topics whose rights are remembered.
REMEMBERED_RIGHTS = 200_000
_DANGEROUS = frozenset("+#/")


class _Rule(NamedTuple):
    levels: tuple[str, ...]
    access: int


class _Rights(NamedTuple):
    """What a topic's patterns come to: whether for everyone, or else for whom."""

    everyone: int
    users: dict[str, int]
    #: By user with rules of its own: access allowed, and whether it is denied altogether.
    owned: dict[str, int | None]


class AccessRules:
    """`may_read` and `may_write` answer for (user, topic); an empty user is nobody."""

    def __init__(self, text: str) -> None:
        self._own: dict[str, list[_Rule]] = {}
        self._patterns: list[_Rule] = []
        self._rights: dict[str, _Rights] = {}
        user = ""
        for line in text.splitlines():
            word, _, rest = line.strip().partition(" ")
            if word == "user":
                user = rest.strip()
            elif word in {"topic", "pattern"}:
                self._add(user, word, rest.strip())

    def _add(self, user: str, word: str, rest: str) -> None:
        access, _, topic = rest.partition(" ")
        if access not in _ACCESS:
            access, topic = "readwrite", rest
        levels = tuple(topic.strip().split("/"))
        if any("%c" in level or ("%u" in level and level != "%u") for level in levels):
            raise ValueError(f"{word} {rest}: only %u as a whole level is modelled")
        rule = _Rule(levels, _ACCESS[access])
        if word == "pattern":
            if not rule.access:
                raise ValueError(f"{word} {rest}: a pattern that denies is not modelled")
            self._patterns.append(rule)
        else:
            own = self._own.setdefault(user, [])
            own.insert(0 if not rule.access else len(own), rule)

    def may_read(self, user: str, topic: str) -> bool:
        """Whether a message on `topic` is delivered to `user`."""
        return self._allowed(user, topic, _READ)

    def may_write(self, user: str, topic: str) -> bool:
        """Whether a message of `user` on `topic` goes further than its acknowledgement."""
        return self._allowed(user, topic, _WRITE)

    def _allowed(self, user: str, topic: str, access: int) -> bool:
        rights = self._rights.get(topic)
        if rights is None:
            rights = self._judge(topic)
        if user in self._own:
            if user not in rights.owned:
                rights.owned[user] = self._judge_own(user, topic)
            own = rights.owned[user]
            if own is None:
                return False
            if own & access:
                return True
        if self._patterns and not _DANGEROUS.isdisjoint(user):
            return False
        return bool((rights.everyone | rights.users.get(user, 0)) & access)

    def _judge(self, topic: str) -> _Rights:
        levels = topic.split("/")
        everyone, users = 0, dict[str, int]()
        for rule in self._patterns:
            user = _match(rule.levels, levels)
            if user == "":
                everyone |= rule.access
            elif user is not None:
                users[user] = users.get(user, 0) | rule.access
        if len(self._rights) >= REMEMBERED_RIGHTS:
            self._rights.clear()
        self._rights[topic] = rights = _Rights(everyone, users, {})
        return rights

    def _judge_own(self, user: str, topic: str) -> int | None:
        levels, allowed = topic.split("/"), 0
        for rule in self._own[user]:
            if _match(rule.levels, levels) is not None:
                if not rule.access:
                    return None
                allowed |= rule.access
        return allowed


def _match(rule: tuple[str, ...], levels: list[str]) -> str | None:
    """None where it does not match, else the user that `%u` stands for, or "" for everyone."""
    user = ""
    if levels[0].startswith("$") and not rule[0].startswith("$"):
        return None
    for index, word in enumerate(rule):
        if word == "#":
            return user
        if index >= len(levels):
            return None
        if word == "%u":
            if user not in ("", levels[index]) or not levels[index]:
                return None
            user = levels[index]
        elif word not in ("+", levels[index]):
            return None
    return user if len(rule) == len(levels) else None
