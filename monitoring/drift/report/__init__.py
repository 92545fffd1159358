"""Drift reports as HTML: our own fleet page and Evidently's.

Reading order: `html_page`, `evidently_adapter`.
"""
