"""The Streamlit dashboard.

Reading order: `app`, `server`, `dashboard_state`, `sensor_data`, `charts`, `tabs`.
"""
