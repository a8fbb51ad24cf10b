"""Grants, tickets and the secret they are signed with."""

from __future__ import annotations

import re
import secrets
from typing import Any

import pytest
from itsdangerous import TimestampSigner, URLSafeSerializer, URLSafeTimedSerializer

from realtime.auth import MIN_SECRET, SALT, Grant, Identity, Tickets, check_secret, combine, grant_of
from realtime.errors import ConfigError, InvalidType, InvalidValue, TicketExpired, TicketInvalid, Unauthenticated
from realtime.registry.base import Removed
from realtime.registry.memory import MemoryRegistry
from realtime.task import NewTask, Task

SECRET = "a secret of more than sixteen characters"


def task(user_id: str | None = "ann", groups: tuple[str, ...] = ("team",)) -> Task:
    return MemoryRegistry().create(NewTask("a", user_id, groups))[0]


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(SECRET, 60.0)


class TestGrants:
    @pytest.mark.parametrize(
        ("grant", "view", "control"),
        [
            (Grant("ann"), True, True),
            (Grant("bob"), False, False),
            (Grant("bob", ("team",)), True, False),
            (Grant("bob", ("other",)), False, False),
            (Grant("ann", ("team",), frozenset("a")), True, True),
            (Grant(task_ids=frozenset("a")), True, False),
            (Grant(task_ids=frozenset("b")), False, False),
            (Grant(), False, False),
            (Grant("team"), False, False),
            (Grant(None, ("ann",)), False, False),
        ],
    )
    def test_owner_members_and_ticket_holders_view_and_the_owner_controls(
        self, grant: Grant, view: bool, control: bool
    ) -> None:
        """Deny by default; a user named like a group, or a group like a user, opens nothing."""
        assert grant.may_view(task()) is view
        assert grant.may_control(task()) is control
        assert grant.may_view(Removed("a", "ann", ("team",), "e", 1)) is view

    def test_nobodys_task_is_nobodys(self) -> None:
        """A task without an owner does not belong to those without a user."""
        orphan = task(None, ())
        assert not Grant(None).may_view(orphan)
        assert not Grant(None).may_control(orphan)
        assert not Grant(None, (), frozenset("a")).may_control(orphan)
        assert Grant(None, (), frozenset("a")).may_view(orphan)

    @pytest.mark.parametrize(
        ("identity", "grant"),
        [
            (None, None),
            ("ann", Grant("ann")),
            (42, Grant("42")),
            (Identity("ann", ["b", "a", "b"]), Grant("ann", ("b", "a"))),
            (Identity(7, {"team"}), Grant("7", ("team",))),
            (Identity(None, ["team"]), Grant(None, ("team",))),  # type: ignore[arg-type]
            (Identity(None), None),  # type: ignore[arg-type]
        ],
    )
    def test_what_identify_may_return(self, identity: Any, grant: Grant | None) -> None:
        """A user id, an `Identity`, or None for nobody; ids are stored as text."""
        assert grant_of(identity) == grant

    @pytest.mark.parametrize(
        ("identity", "error", "field"),
        [
            (True, InvalidType, "user_id"),
            ("", InvalidValue, "user_id"),
            (3.5, InvalidType, "user_id"),
            (Identity("ann", "team"), InvalidType, "groups"),
            (Identity("ann", ["not a group!"]), InvalidValue, "groups"),
            (Identity("ann", [f"g{number}" for number in range(1_001)]), InvalidValue, "groups"),
        ],
    )
    def test_what_it_may_not(self, identity: Any, error: type[InvalidValue], field: str) -> None:
        """The error names the part that is wrong."""
        with pytest.raises(error) as caught:
            grant_of(identity)
        assert caught.value.field == field

    def test_an_identity_may_carry_more_groups_than_a_task(self) -> None:
        """A task has at most 8 groups; a person may be in a thousand."""
        found = grant_of(Identity("ann", [f"g{number}" for number in range(1_000)]))
        assert found is not None
        assert len(found.groups) == 1_000

    @pytest.mark.parametrize(
        ("identity", "ticket", "both"),
        [
            (None, None, None),
            (Grant("ann"), None, Grant("ann")),
            (None, Grant(task_ids=frozenset("a")), Grant(task_ids=frozenset("a"))),
            (Grant("ann", ("team",)), Grant(task_ids=frozenset("a")), Grant("ann", ("team",), frozenset("a"))),
            (Grant("ann", ("team",)), Grant("bob"), Grant("bob")),
            (Grant("ann", (), frozenset("a")), Grant(task_ids=frozenset("b")), Grant("ann", (), frozenset("ab"))),
        ],
    )
    def test_a_ticket_for_a_task_adds_and_one_for_a_user_stands_alone(
        self, identity: Grant | None, ticket: Grant | None, both: Grant | None
    ) -> None:
        """Whoever passes a user's ticket means that user, and not the cookie's groups with it."""
        assert combine(identity, ticket) == both


class TestTickets:
    def test_a_users_ticket_grants_that_user(self, tickets: Tickets) -> None:
        """No groups, no single tasks; an int is its digits."""
        assert tickets.verify(tickets.issue("ann")) == Grant("ann")
        assert tickets.verify(tickets.issue(42)) == Grant("42")

    def test_a_tasks_ticket_grants_the_view_of_one_task(self, tickets: Tickets) -> None:
        """It makes nobody of its holder, so nothing can be cancelled with it."""
        assert tickets.verify(tickets.issue(task_id="a")) == Grant(None, (), frozenset({"a"}))

    @pytest.mark.parametrize("given", [{}, {"user_id": "ann", "task_id": "a"}])
    def test_a_ticket_is_for_one_thing(self, tickets: Tickets, given: dict[str, Any]) -> None:
        """Neither for nothing nor for both."""
        with pytest.raises(InvalidValue, match="one of the two"):
            tickets.issue(**given)

    @pytest.mark.parametrize("given", [{"user_id": ""}, {"user_id": True}, {"task_id": "no spaces"}])
    def test_it_is_for_a_valid_id(self, tickets: Tickets, given: dict[str, Any]) -> None:
        """A ticket that could never open anything is refused where it is made."""
        with pytest.raises(InvalidValue):
            tickets.issue(**given)

    def test_it_is_what_itsdangerous_makes(self, tickets: Tickets) -> None:
        """Nothing about its form is ours: a ticket of another process, or of an earlier release, is good."""
        assert tickets.verify(URLSafeTimedSerializer(SECRET, salt=SALT).dumps({"u": "ann"})) == Grant("ann")

    def test_it_expires(self, tickets: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
        """Good for its age to the second, then `ticket_expired`."""
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: 1_000_000)
        ticket = tickets.issue("ann")
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: 1_000_060)
        assert tickets.verify(ticket) == Grant("ann")
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: 1_000_061)
        with pytest.raises(TicketExpired) as caught:
            tickets.verify(ticket)
        assert (caught.value.code, caught.value.http_status) == ("ticket_expired", 401)

    def test_one_from_the_future_is_not_good(self, tickets: Tickets, monkeypatch: pytest.MonkeyPatch) -> None:
        """A clock that was set back does not make tickets last longer."""
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: 1_000_000)
        ticket = tickets.issue("ann")
        monkeypatch.setattr(TimestampSigner, "get_timestamp", lambda _: 999_990)
        with pytest.raises(Unauthenticated):
            tickets.verify(ticket)

    @pytest.mark.parametrize(
        "ticket",
        [
            None, 7, b"bytes", "", "abc", "a.b.c", "....", "\ud800.a.b", "é.a.b", "x" * 5_000,
            URLSafeTimedSerializer("another secret of the same length", salt=SALT).dumps({"u": "ann"}),
            URLSafeTimedSerializer(SECRET, salt="cookie-session").dumps({"u": "ann"}),
            URLSafeSerializer(SECRET, salt=SALT).dumps({"u": "ann"}),
            URLSafeTimedSerializer(SECRET, salt=SALT).dumps({"u": secrets.token_hex(5_000)}),
        ],
        ids=range(14),  # made of the tickets they would differ in each process
    )  # fmt: skip
    def test_anything_else_is_invalid(self, tickets: Tickets, ticket: Any) -> None:
        """Another key, another salt, no time, no text, too long: `ticket_invalid`, and never another error."""
        with pytest.raises(TicketInvalid) as caught:
            tickets.verify(ticket)
        assert (caught.value.code, caught.value.http_status) == ("ticket_invalid", 401)

    @pytest.mark.parametrize("claims", [{}, [], "ann", {"u": 1}, {"t": None}, {"x": "ann"}])
    def test_signed_but_not_a_ticket(self, tickets: Tickets, claims: Any) -> None:
        """What was signed must also say what a ticket says."""
        with pytest.raises(TicketInvalid):
            tickets.verify(URLSafeTimedSerializer(SECRET, salt=SALT).dumps(claims))

    def test_signed_rubbish_is_invalid(self, tickets: Tickets) -> None:
        """A payload that is not JSON is a bad ticket and not a failure of the server."""
        signer = URLSafeTimedSerializer(SECRET, salt=SALT).make_signer(SALT)
        with pytest.raises(TicketInvalid):
            tickets.verify(signer.sign(b"bm90IGpzb24").decode())

    def test_every_changed_character_is_noticed(self, tickets: Tickets) -> None:
        """The payload, the time and the signature are all covered."""
        ticket = tickets.issue("ann")
        last = len(ticket) - 1  # the last one carries bits that base64 drops
        for place in range(last):
            changed = "A" if ticket[place] != "A" else "B"
            with pytest.raises(Unauthenticated):
                tickets.verify(ticket[:place] + changed + ticket[place + 1 :])


class TestSecret:
    @pytest.mark.parametrize("secret", [SECRET, SECRET.encode(), "x" * MIN_SECRET])
    def test_a_long_one_is_taken_as_it_is(self, secret: Any) -> None:
        """Text or bytes."""
        assert check_secret(secret) is secret

    @pytest.mark.parametrize(
        ("secret", "state"), [(None, "is not set"), ("", "is not set"), ("x" * (MIN_SECRET - 1), "has fewer than 16")]
    )
    def test_none_or_a_short_one_is_an_error_with_a_line_to_paste(self, secret: Any, state: str) -> None:
        """The line is Python, long enough, and another one each time."""
        lines = set()
        for _ in range(2):
            with pytest.raises(ConfigError, match=state) as caught:
                check_secret(secret)
            [line] = re.findall(r"^ {4}SECRET_KEY = '([^']+)'$", str(caught.value), re.MULTILINE)
            assert check_secret(line) == line
            lines.add(line)
        assert len(lines) == 2
