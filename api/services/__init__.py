"""What the routes do: render, generate, and put answers together. No HTTP here."""
