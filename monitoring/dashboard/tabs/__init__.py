"""The tabs of the dashboard and their parts, one module each.

Reading order: `fleet`, `anomalies`, `forecast`, `models`, `training`.
"""
