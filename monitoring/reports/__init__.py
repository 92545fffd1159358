"""Reports for the control room: alert statistics, shift report, limits at risk.

Reading order: `alert_statistics`, `shift_report`, `shift_figures`, `alert_chart`, `report_files`.
"""
