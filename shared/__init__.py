"""The contract between Darkroom's programs: configuration, run folder, records, requests, heartbeats.

Nothing here imports torch, streamlit or pandas.
"""
