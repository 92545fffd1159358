"""Optuna searches for detector and forecaster parameters.

Reading order: `study`, `detector_search`, `forecaster_search`, `trial_cache`.
"""
