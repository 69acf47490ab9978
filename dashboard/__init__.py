"""The dashboard: shows one run folder, live, in the browser. Reads everything; writes nothing but requests."""
