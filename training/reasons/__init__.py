"""Reasons as data: a code with values, stored as JSON and rendered per language at the edge.

Reading order: `reason`, `codes`, `english`, `rendering`.
"""

from training.reasons.codes import ReasonCode
from training.reasons.reason import Reason, dump_reasons, load_reasons
from training.reasons.rendering import ENGLISH, Language, render, render_all

__all__ = [
    "ENGLISH",
    "Language",
    "Reason",
    "ReasonCode",
    "dump_reasons",
    "load_reasons",
    "render",
    "render_all",
]
