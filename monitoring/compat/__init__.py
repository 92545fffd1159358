"""The alert API of the original system on top of this one.

Start with `alert_engine`.
"""
