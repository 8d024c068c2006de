"""Circuit breakers, one small file each; a trip is a durable latch that time and a human clear together."""
