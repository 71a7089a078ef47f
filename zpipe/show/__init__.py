"""What people and programs see of a run and of results: progress, tables, CSV. Reads snapshots, asks nobody."""
