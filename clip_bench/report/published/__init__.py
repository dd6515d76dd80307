"""What others published about CLIP models: rows as data, what the roofline says of each, and what stands beside them."""
