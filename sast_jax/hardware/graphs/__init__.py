"""Networks of others, as NIR graphs: read, and run as hard networks."""
