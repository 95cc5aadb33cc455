"""A report as HTML, Markdown, Word or SVG."""
