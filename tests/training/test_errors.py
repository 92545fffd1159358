"""Errors: passwords are masked, and a file that cannot be written is one clear error."""

import errno
import os

import pytest

from training.errors import ConfigurationError, UnwritableFile, write_errors


def test_a_file_that_cannot_be_written_is_an_error_with_path_cause_and_advice(tmp_path):
    path = tmp_path / "nowhere" / "report.html"

    with (
        pytest.raises(
            UnwritableFile, match=r"^The report cannot be written to .*No such file.* another path"
        ),
        write_errors("The report", path),
    ):
        path.write_text("x")


def test_a_full_disk_is_an_error_of_the_file_that_is_written(tmp_path):
    with (
        pytest.raises(UnwritableFile, match="No space left on device"),
        write_errors("The backup", tmp_path / "plant.zip"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(ConfigurationError, match="neither"), write_errors("The report", tmp_path):
        raise ConfigurationError("neither .html nor .xlsx")
