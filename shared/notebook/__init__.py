"""What the cells of notebooks/darkroom.ipynb call: packages, where it runs, and one run from pictures to zip."""
