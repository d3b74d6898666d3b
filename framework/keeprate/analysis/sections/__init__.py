"""The sections of a report, one module each: what is worked out of the runs of a group."""
