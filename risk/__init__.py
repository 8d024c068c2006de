"""What may be done: limits, projection, circuit breakers, order checks, the gate. Pure: no I/O, no clock."""
