"""Components that Streamlit lacks: a chart that keeps its zoom, a wall of pictures."""
