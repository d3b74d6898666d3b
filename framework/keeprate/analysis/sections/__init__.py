"""The sections of a report, one module each, computed from the runs of a group."""
