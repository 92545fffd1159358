"""Commands of the monitoring floor.

Reading order: `alert_commands`, `schedule_commands`, `demo`.
"""
