"""Where trials run: on this machine, one after another, or wherever Ray has room."""
