"""The alert API of the original system.

Start with `alert_engine`.
"""
