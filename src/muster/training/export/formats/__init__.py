"""What an ensemble can be exported to, one file for each format."""
