"""How it is done: the Broker port, orders and their states, account and settlement, charges, and the adapters."""
