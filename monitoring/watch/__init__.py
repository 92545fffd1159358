"""Watch the fleet: new data becomes conditions, conditions become alerts.

Reading order: `watcher`, `new_data`, `conditions`, `thresholds`, `floods`, `operator_actions`.
"""
