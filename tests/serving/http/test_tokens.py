"""Tokens: their callers, roles and files; no error message shows a token."""

import os

import pytest

from serving.http.tokens import Role, Tokens
from training.errors import ConfigurationError

OLD, NEW = "0123456789abcdef-old", "0123456789abcdef-new"


@pytest.fixture
def file(tmp_path):
    """A file of tokens that only its owner can read."""

    def write(text, *, at=1_000):
        path = tmp_path / "tokens"
        path.write_text(text)
        path.chmod(0o600)
        os.utime(path, (at, at))
        return path

    return write


def test_a_caller_has_the_name_and_role_of_its_line(file):
    tokens = Tokens(file=file(f"night-shift:operate:{OLD}\nscada:read:{NEW}\n"))

    caller = tokens.caller(f"Bearer {OLD}")

    assert (caller.name, caller.role) == ("night-shift", Role.OPERATE)
    assert tokens.caller(f"Bearer {NEW}").name == "scada"


@pytest.mark.parametrize(
    ("role", "permitted"),
    [("read", [Role.READ]), ("operate", [Role.READ, Role.OPERATE]), ("promote", list(Role))],
)
def test_a_role_includes_those_before_it(file, role, permitted):
    caller = Tokens(file=file(f"someone:{role}:{OLD}")).caller(f"Bearer {OLD}")

    assert [role for role in Role if caller.has_role(role)] == permitted


def test_a_token_without_a_role_has_every_permission():
    assert Tokens(given=OLD).caller(f"Bearer {OLD}").has_role(Role.PROMOTE)


def test_the_environment_may_contain_roles():
    tokens = Tokens.from_environment(None, {"SAFEPLAN_TOKENS": f"a:read:{OLD} b:promote:{NEW}"})

    assert tokens.caller(f"Bearer {NEW}").name == "b"


@pytest.mark.parametrize(
    "header", [None, "", OLD, f"Basic {OLD}", "Bearer", f"Bearer {OLD[:-1]}", "Bearer \udcff"]
)
@pytest.mark.attack("requests with a wrong, cut or foreign token", "refused, in the same time")
def test_any_other_header_is_refused(header):
    tokens = Tokens(given=OLD)

    assert tokens.caller(header) is None
    assert not tokens.is_allowed(header)


def test_without_tokens_every_request_is_allowed():
    assert Tokens().is_allowed(None)


def test_a_changed_file_takes_effect_with_the_next_request(file):
    tokens = Tokens(file=file(f"{OLD}\n{NEW}\n"))
    assert tokens.is_allowed(f"Bearer {OLD}")

    file(f"{NEW}\n", at=2_000)

    assert (tokens.is_allowed(f"Bearer {OLD}"), tokens.is_allowed(f"Bearer {NEW}")) == (False, True)


def test_a_missing_file_keeps_the_tokens_read_before(file):
    path = file(OLD)
    tokens = Tokens(file=path)

    path.unlink()

    assert tokens.is_allowed(f"Bearer {OLD}")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("short", "less than 16 characters"),
        ("a:read:short", "less than 16 characters"),
        (f"a:root:{OLD}", "roles read, operate and promote"),
        (f":read:{OLD}", "roles read, operate and promote"),
        ("# only a comment", "contains no token"),
    ],
)
def test_an_invalid_line_is_refused_without_showing_it(file, text, match):
    with pytest.raises(ConfigurationError, match=match) as caught:
        Tokens(file=file(text))

    assert OLD not in str(caught.value)


def test_a_file_readable_by_everyone_is_refused(file):
    path = file(OLD)
    path.chmod(0o644)

    with pytest.raises(ConfigurationError, match="chmod o-r"):
        Tokens(file=path)


def test_a_missing_file_is_named_in_the_error(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere cannot be read"):
        Tokens(file=tmp_path / "nowhere")
