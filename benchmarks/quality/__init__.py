"""What g2is gives: which selection teaches best."""
