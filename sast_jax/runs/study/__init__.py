"""Parts of studies that compare methods."""
