"""Data quality: instrument faults, grades, and the windows of readings that a model may learn from.

Reading order: `windows`, `assessment`, `fault_checks`, `grades`.
"""
