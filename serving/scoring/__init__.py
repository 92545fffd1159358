"""Answer requests: rows in, scores and forecasts out.

Reading order: `fleet_service`, `fleet_scoring`, `request_rows`, `forecasts`, `response`.
"""
