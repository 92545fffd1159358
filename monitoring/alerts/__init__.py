"""Alerts as data: kinds, rules, life cycle, store, alarm budget.

Reading order: `alert`, `kinds`, `rules`, `life_cycle`, `store`, `alarm_budget`.
"""
