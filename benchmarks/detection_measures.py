"""Measures of detection on labelled readings: VUS-PR, AUC-PR, and events found within an alarm budget.

Knows scores and labels only. VUS-PR follows Paparrizos et al., "Volume Under the Surface" (VLDB 2022): labels
soften over a buffer around each event, recall is scaled by the share of events touched, and the area under
precision-recall is averaged over all buffers from 0 to the longest.
"""

from dataclasses import dataclass

import numpy as np

from training.common.arrays import Flags, Floats, Ints

THRESHOLDS = 250
REPEAT_ALARM_READINGS = 100  # a false alarm that stays on counts again after this many readings
MIN_TOUCHED_SHARE = 0.05  # share of an event that must be alarmed for it to count as found


def events_of(labels: Flags) -> list[tuple[int, int]]:
    """First and last row of each unbroken event.

    >>> events_of(np.array([0, 1, 1, 0, 1], bool))
    [(1, 2), (4, 4)]
    """
    edges = np.diff(np.concatenate([[0], labels.astype(np.int8), [0]]))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [(int(a), int(b) - 1) for a, b in zip(starts, stops, strict=True)]


def vus_pr(scores: Floats, labels: Flags, *, longest_buffer: int) -> float:
    """Volume under the precision-recall surface over buffers 0..longest_buffer."""
    return float(np.mean(range_auc_pr(scores, labels, np.arange(longest_buffer + 1))))


def range_auc_pr(scores: Floats, labels: Flags, buffers: Ints) -> Floats:
    """Range-aware area under precision-recall, one for each buffer."""
    events = events_of(labels)
    order = np.argsort(-scores, kind="stable")
    descending = scores[order]
    ranks = np.linspace(0, scores.size - 1, min(THRESHOLDS, scores.size)).astype(int)
    thresholds = descending[ranks]
    predicted = np.searchsorted(-descending, -thresholds, side="right")
    positives = float(labels.sum())
    areas = []
    for buffer in buffers:
        soft = soften_labels(labels, events, int(buffer))
        hits = np.cumsum(soft[order])[predicted - 1]
        extra = np.cumsum(np.where(labels, 0.0, soft)[order])[predicted - 1]
        recall = np.minimum(hits / (positives + extra / 2), 1.0)
        loudest = np.array([scores[a : b + 1].max() for a, b in events_of(soft > 0)])
        touched = (loudest[:, None] >= thresholds).mean(axis=0)
        heights = np.append(0.0, recall * touched)
        areas.append(float(np.sum(np.diff(heights) * hits / predicted)))
    return np.array(areas)


def soften_labels(labels: Flags, events: list[tuple[int, int]], buffer: int) -> Floats:
    """Labels that fall off around each event, over half a buffer on either side."""
    soft = labels.astype(np.float64)
    half = buffer // 2
    if half:
        slope = np.sqrt(1 - np.arange(half + 1) / buffer)
        for first, last in events:
            after = soft[last : last + half]
            after += slope[: after.size]
            start = max(first - half, 0)
            soft[start:first] += slope[first - np.arange(start, first)]
    return np.minimum(soft, 1.0)


def auc_pr(scores: Floats, labels: Flags) -> float:
    """Average precision of single readings; tied scores are taken together."""
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(labels[order])[last_of_tie]
    predicted = np.flatnonzero(last_of_tie) + 1
    return float(np.sum(np.diff(np.append(0, hits)) * hits / predicted) / labels.sum())


@dataclass(frozen=True)
class ThresholdResult:
    """Events found and false alarms at one threshold."""

    threshold: float
    recall: float  # share of events of which at least 5 % was alarmed
    delay: float  # readings until the first alarm in a found event, the mean; NaN where none was found
    false_episodes: int


def evaluate_threshold(scores: Floats, labels: Flags, threshold: float) -> ThresholdResult:
    """Count events found and false alarms where scores reach the threshold."""
    alarmed = scores >= threshold
    delays = [
        float(np.argmax(alarmed[a : b + 1]))
        for a, b in events_of(labels)
        if alarmed[a : b + 1].mean() >= MIN_TOUCHED_SHARE
    ]
    events = len(events_of(labels))
    return ThresholdResult(
        threshold=float(threshold),
        recall=len(delays) / events if events else float("nan"),
        delay=float(np.mean(delays)) if delays else float("nan"),
        false_episodes=false_episodes(alarmed, labels),
    )


def false_episodes(alarmed: Flags, labels: Flags) -> int:
    """Unbroken runs of alarms on normal readings; long ones count once every hundred readings."""
    return sum(-(-(b - a + 1) // REPEAT_ALARM_READINGS) for a, b in events_of(alarmed & ~labels))


def at_budget(scores: Floats, labels: Flags, *, per_normal: float = 1 / 1000) -> ThresholdResult:
    """The result at the lowest threshold whose false episodes stay within the budget."""
    allowed = per_normal * np.count_nonzero(~labels)
    candidates = np.unique(np.quantile(scores, 1 - np.geomspace(1 / scores.size, 1.0, 400)))[::-1]
    best = float(np.nextafter(candidates[0], np.inf))
    for threshold in candidates:
        if false_episodes(scores >= threshold, labels) > allowed:
            break
        best = float(threshold)
    return evaluate_threshold(scores, labels, best)
