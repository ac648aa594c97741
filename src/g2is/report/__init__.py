"""The page that shows a selection or a comparison: plain data made of arrays, and one HTML file made of that."""
