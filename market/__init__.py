"""What the market is: instruments, bars, sessions and calendar, data quality, the bar store, feeds. Imports no other room."""
