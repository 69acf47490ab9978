"""The charts: tables in, Plotly figures out, as plain dictionaries. Nothing here reads a file or knows of Streamlit.

Colours are names of the page's CSS variables (`--st-blue-color`), which the browser replaces, so that one figure serves
light and dark. Numbers travel as typed arrays, thinned by `dashboard.data.series` to what a screen can show.
"""
