"""Drift reports as HTML: the fleet page, and a report of each model with Evidently's charts.

Reading order: `html_page`, `wording`, `charts`, `evidently_adapter`.
"""
