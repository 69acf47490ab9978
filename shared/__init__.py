"""The contract between Darkroom's programs: configuration, run folder, records, requests, status.

Nothing here imports torch, streamlit or pandas, but the sub-package `shared.diffusion`, imported by name.
"""
