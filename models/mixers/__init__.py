"""What mixes information between tokens; one file per control flow."""
