"""What finished cells of a comparison (method × target × budget × seed) are evidence for."""
