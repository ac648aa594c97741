"""What benchmarks share. A benchmark imports only from here, and g2is."""
