"""One room for reports: records in; an HTML page, Markdown, SVG and model cards out."""
