"""The pages of a site, one module each: what a page says, worked out for its template."""
