"""The pages. Not named `pages`: Streamlit would take it for its own."""
