"""The process: bus, clock, journal, inference, planner, executor, ledger, agenda, control, stop plane."""
