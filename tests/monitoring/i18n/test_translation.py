"""Words: every sentence in the reader's language, every moment by the reader's clock."""

import string

import pytest

from monitoring.i18n.translation import ENGLISH, Translator, available_languages, load_translator
from tests.support.translation_catalogues import LOCALE, collect_messages, read_catalogue
from tests.support.workspaces import parse_time
from training.errors import ConfigurationError
from training.settings import PACKAGED_CONF

NOON = parse_time("2026-01-31T12:00")


def fields(text: str) -> set[str | None]:
    """The names in braces."""
    return {name for _, name, *_ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", [name for name in available_languages() if name != ENGLISH])
def test_every_sentence_of_the_program_is_translated_with_its_blanks(language):
    translated = read_catalogue(LOCALE / f"{language}.po")

    for message in collect_messages():
        if not message.id:
            continue
        result = translated.get(message.id)
        assert result is not None, f"{message.id}: run make words, then translate it"
        strings = result.string if isinstance(result.string, tuple | list) else [result.string]
        ids = message.id if isinstance(message.id, tuple | list) else [message.id]
        assert all(strings), f"{message.id} has no translation in {language}"
        for text in strings:
            assert fields(text) == set().union(*map(fields, ids)), text


@pytest.mark.parametrize("language", [name for name in available_languages() if name != ENGLISH])
def test_no_catalogue_holds_sentences_nobody_says(language):
    spoken = {message.id for message in collect_messages()}

    assert {message.id for message in read_catalogue(LOCALE / f"{language}.po")} <= spoken


def test_moments_are_by_the_clock_on_the_wall():
    assert Translator("en", "America/Sao_Paulo").moment(NOON) == "2026-01-31 09:00"
    assert Translator("pt", "Asia/Tokyo").moment(NOON) == "31/01/2026 21:00"


def test_conf_names_language_and_clock(monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SITE_LANGUAGE", "pt")
    monkeypatch.setenv("SAFEPLAN_SITE_ZONE", "America/Sao_Paulo")

    assert load_translator().moment(NOON) == "31/01/2026 09:00"
    assert load_translator("en", "UTC").moment(NOON) == "2026-01-31 12:00"


def test_a_plant_has_the_last_word(tmp_path, monkeypatch):
    """Its own catalogue wins sentence by sentence; what it does not say is as shipped."""
    (tmp_path / "locale").mkdir()
    kind = '"Content-Type: text/plain; charset=utf-8\\n"'
    own = f'msgid ""\nmsgstr ""\n{kind}\n\nmsgid "critical"\nmsgstr "gravissimo"\n'
    (tmp_path / "locale" / "pt.po").write_text(own, encoding="utf-8")
    monkeypatch.setenv("SAFEPLAN_CONF", str(tmp_path))

    _ = Translator("pt")

    assert _("critical") == "gravissimo"
    assert _.plural("{count} alert", "{count} alerts", 2) == "2 alertas"


def test_a_language_without_words_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"no words for 'xx'; there are for en, pt"):
        Translator("xx")


def test_a_catalogue_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    (tmp_path / "locale").mkdir()
    (tmp_path / "locale" / "no.po").write_text("nothing like a catalogue", encoding="utf-8")
    monkeypatch.setenv("SAFEPLAN_CONF", str(tmp_path))

    with pytest.raises(ConfigurationError, match=r"no\.po is no readable gettext catalogue"):
        Translator("no")


def test_a_zone_that_does_not_exist_is_refused(monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SITE_ZONE", "Mars/Olympus")

    with pytest.raises(ConfigurationError, match=r"site\.zone = 'Mars/Olympus'.*America/Sao_Paulo"):
        load_translator()


@pytest.mark.parametrize(
    ("value", "written"), [(1234567.8, "1.234.568"), (0.00001234, "0,00001234"), (3.0, "3"), (-12.5, "-12,5")]
)
def test_numbers_are_written_as_the_language_does(value, written):
    assert Translator("pt").number(value) == written


def test_every_shipped_catalogue_is_packaged_with_the_program():
    assert (PACKAGED_CONF / "locale").resolve() == LOCALE.resolve()
