"""Reports: tables, Markdown, plots and one HTML page."""
