"""What Streamlit does not offer, as inline components: a chart that keeps its zoom, a wall of pictures."""
