"""One self-contained HTML page from edgepose's own records."""
