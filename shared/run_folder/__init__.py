"""The run folder, the only channel between the programs: its paths, records, tables, leases and requests."""
