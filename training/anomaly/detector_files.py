"""Open the files of a detector version, whichever of the two kinds of detector they hold."""

from pathlib import Path

from training.anomaly.detector import AnomalyDetector
from training.anomaly.rule_based_detector import RULES_FILE, RuleBasedDetector


def open_detector(folder: Path) -> AnomalyDetector | RuleBasedDetector:
    """Read an ensemble or a rule-based detector.

    Raises:
        UntrustedModel: a file is missing, invalid or of another version.
    """
    if (folder / RULES_FILE).exists():
        return RuleBasedDetector.load(folder)
    return AnomalyDetector.load(folder)
