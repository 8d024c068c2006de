"""The whole daemon in a simulated world: same code, other edges, seeded faults, and invariants after every message."""
