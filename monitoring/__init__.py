"""Drift, alerts, notifications, the schedule and the dashboard: what keeps models fresh and people informed.

Uses `serving` and `training`; neither knows this floor.
Reading order: `watch`, `alerts`, `notify`, `drift`, `retraining`, `schedule`, `dashboard`, `reports`, `cli`.
"""
