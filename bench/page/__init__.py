"""The page's JSON API under load."""
