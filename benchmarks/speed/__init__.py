"""What g2is takes: time, memory, and what its shortcuts cost in exactness."""
