"""What things mean: marketing, sales, product, success and finance, which never import each other."""
