"""Translation: every text in the reader's language, every time in the site's time zone."""

import re
import string
from datetime import timedelta

import pytest

from monitoring.i18n.translation import ENGLISH, Translator, available_languages, load_translator
from tests.support.translation_catalogues import LOCALE, collect_messages, read_catalogue
from tests.support.workspaces import parse_time
from training.common.formatting import format_duration, format_percent
from training.errors import ConfigurationError
from training.reasons import ENGLISH as ENGLISH_REASONS
from training.reasons import Reason, ReasonCode, dump_reasons, render_all
from training.reasons.english import TEMPLATES
from training.settings import PACKAGED_CONF

NOON = parse_time("2026-01-31T12:00")
TRANSLATED_LANGUAGES = [language for language in available_languages() if language != ENGLISH]
NO_DATA = Reason(ReasonCode.DRIFT_NO_DATA, {"duration": 7740.0, "time": parse_time("2026-01-31T06:00")})


def placeholders(text: str) -> set[tuple[str, str | None]]:
    """The names in braces with their formats."""
    return {(name, form) for _, name, form, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", TRANSLATED_LANGUAGES)
def test_every_text_is_translated_with_its_placeholders(language):
    catalogue = read_catalogue(LOCALE / f"{language}.po")

    for message in collect_messages():
        if not message.id:
            continue
        entry = catalogue.get(message.id)
        assert entry is not None, f"{message.id}: run make words, then translate it"
        translations = entry.string if isinstance(entry.string, tuple | list) else [entry.string]
        originals = message.id if isinstance(message.id, tuple | list) else [message.id]
        assert all(translations), f"{message.id} has no translation in {language}"
        for translation in translations:
            assert placeholders(translation) == set().union(*map(placeholders, originals)), translation


@pytest.mark.parametrize("language", TRANSLATED_LANGUAGES)
def test_no_catalogue_holds_texts_that_the_program_lacks(language):
    used = {message.id for message in collect_messages()}

    assert {message.id for message in read_catalogue(LOCALE / f"{language}.po")} <= used


@pytest.mark.parametrize("language", TRANSLATED_LANGUAGES)
@pytest.mark.parametrize("code", list(ReasonCode))
def test_every_reason_has_a_text_in_every_language(language, code):
    text = Translator(language)(TEMPLATES[code])

    assert text
    if re.search(r"[a-z]{3}", re.sub(r"\{.*?\}", "", TEMPLATES[code])):
        assert text != TEMPLATES[code]


def test_reasons_are_rendered_in_the_language_time_zone_and_unit_of_the_reader():
    reasons = (Reason(ReasonCode.FAULT_EXCURSION, {"value": 12345.6, "before": 1.25, "after": 38.2}), NO_DATA)

    text = Translator("pt", "America/Sao_Paulo").reason_text(reasons, "not shown", unit="degC")

    assert text.startswith("12.346 °C entre 1,25 °C e 38,2 °C; ")
    assert "2 h 9 min" in text
    assert text.endswith("31/01/2026 03:00")


def test_reasons_stored_as_json_are_rendered_as_the_objects_are():
    translator = Translator("pt")

    assert translator.reason_text(dump_reasons([NO_DATA]), "") == translator.reason_text((NO_DATA,), "")


@pytest.mark.parametrize("missing", [None, (), "", '[{"code":"reason_of_2030"}]', float("nan")])
def test_a_row_without_reasons_shows_its_stored_text(missing):
    """Version 0.1.0 stored only the text; a data frame has NaN where the column is NULL."""
    assert Translator("pt").reason_text(missing, "as written in {2025}") == "as written in {2025}"


def test_english_differs_from_the_stored_text_only_in_time_zone_and_notation():
    reason = Reason(ReasonCode.GATE_ERROR, {"error": 1234.5, "champion": 0.00012})

    assert Translator().reason_text((reason,), "") == render_all([reason], ENGLISH_REASONS)


@pytest.mark.parametrize("share", [0.0, 1e-5, 0.004, 0.01, 0.333, 0.99, 0.999, 0.99999, 1.0])
def test_a_share_is_rounded_as_in_the_stored_text(share):
    assert Translator().share(share) == format_percent(share, 1)


@pytest.mark.parametrize("seconds", [0.25, 1, 60, 90, 119, 120, 5400, 3600, 7200, 86_400, 172_800])
def test_a_whole_number_of_units_is_written_as_in_the_stored_text(seconds):
    assert Translator().duration(seconds) == format_duration(timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(7740, "2 h 9 min"), (90_000, "25 h"), (183_600, "2 d 3 h"), (172_799, "48 h"), (150, "2,5 min")],
)
def test_a_duration_has_at_most_two_units(seconds, text):
    assert Translator("pt").duration(seconds) == text


def test_times_are_in_the_time_zone_of_the_reader():
    assert Translator("en", "America/Sao_Paulo").moment(NOON) == "2026-01-31 09:00"
    assert Translator("pt", "Asia/Tokyo").moment(NOON) == "31/01/2026 21:00"


def test_language_and_time_zone_come_from_the_settings(monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SITE_LANGUAGE", "pt")
    monkeypatch.setenv("SAFEPLAN_SITE_ZONE", "America/Sao_Paulo")

    assert load_translator().moment(NOON) == "31/01/2026 09:00"
    assert load_translator("en", "UTC").moment(NOON) == "2026-01-31 12:00"


def test_the_catalogue_of_the_site_takes_precedence(tmp_path, monkeypatch):
    """Text by text; what it lacks comes from the shipped catalogue."""
    (tmp_path / "locale").mkdir()
    kind = '"Content-Type: text/plain; charset=utf-8\\n"'
    own = f'msgid ""\nmsgstr ""\n{kind}\n\nmsgid "critical"\nmsgstr "gravissimo"\n'
    (tmp_path / "locale" / "pt.po").write_text(own, encoding="utf-8")
    monkeypatch.setenv("SAFEPLAN_CONF", str(tmp_path))

    _ = Translator("pt")

    assert _("critical") == "gravissimo"
    assert _.plural("{count} alert", "{count} alerts", 2) == "2 alertas"


def test_a_language_without_catalogue_is_refused():
    with pytest.raises(ConfigurationError, match=r"no catalogue for the language 'xx'; available: en, pt"):
        Translator("xx")


def test_an_unreadable_catalogue_is_named(tmp_path, monkeypatch):
    (tmp_path / "locale").mkdir()
    (tmp_path / "locale" / "no.po").write_text("nothing like a catalogue", encoding="utf-8")
    monkeypatch.setenv("SAFEPLAN_CONF", str(tmp_path))

    with pytest.raises(ConfigurationError, match=r"no\.po is not a readable gettext catalogue"):
        Translator("no")


def test_an_unknown_time_zone_is_refused(monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SITE_ZONE", "Mars/Olympus")

    with pytest.raises(ConfigurationError, match=r"site\.zone = 'Mars/Olympus'.*America/Sao_Paulo"):
        load_translator()


@pytest.mark.parametrize(
    ("value", "written"), [(1234567.8, "1.234.568"), (0.00001234, "0,00001234"), (3.0, "3"), (-12.5, "-12,5")]
)
def test_numbers_are_written_in_the_notation_of_the_language(value, written):
    assert Translator("pt").number(value) == written


def test_the_catalogues_are_packaged_with_the_program():
    assert (PACKAGED_CONF / "locale").resolve() == LOCALE.resolve()
