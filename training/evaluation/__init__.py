"""Evaluate models: injected faults, backtests, labelled alarms, and the promotion gate.

Reading order: `gate`, `fault_injection`, `backtest`, `label_feedback`.
"""
